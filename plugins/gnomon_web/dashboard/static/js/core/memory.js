// What a browser keeps of a person's choices: theme, language, shortcuts. Where it keeps nothing, the page still works.

/** @param {string} name @param {string} otherwise @returns {string} */
export function recall(name, otherwise) {
  try {
    return localStorage.getItem(`gnomon.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`gnomon.${name}`, value);
  } catch {
    // Storage is switched off: the choice holds until the page is closed.
  }
}
