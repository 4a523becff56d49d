// Preferences that the browser stores: theme, language, shortcuts. The page also works where storage is disabled.

/** @param {string} name @param {string} fallback @returns {string} */
export function readPreference(name, fallback) {
  try {
    return localStorage.getItem(`gnomon.${name}`) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {string} value */
export function savePreference(name, value) {
  try {
    localStorage.setItem(`gnomon.${name}`, value);
  } catch {
    // Storage is disabled: the choice lasts until the page is closed.
  }
}
