// Every text that people read. The English catalogue defines the keys; the others are checked against it.
import { signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { en } from './en.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, () => Record<Key, string> | Promise<Record<Key, string>>>} languages other than English are loaded when chosen */
export const CATALOGUES = { en: () => en, 'zh-CN': () => import('./zh.js').then(({ zh }) => zh) };
export const LANGUAGES = { en: 'English', 'zh-CN': '简体中文' };

const preferred = navigator.languages.some((one) => one.toLowerCase().startsWith('zh')) ? 'zh-CN' : 'en';
/** @type {Record<Key, string>} */
let catalogue = en;

/** The language of the page. A change rebuilds the whole page, so texts need no signal of their own. */
export const language = signal('en');

/** @param {string} wanted */
async function switchTo(wanted) {
  catalogue = await CATALOGUES[wanted]();
  language.value = wanted;
}

/** @param {string} chosen */
export async function setLanguage(chosen) {
  await switchTo(chosen);
  savePreference('language', chosen);
}

/** Start in the language chosen earlier, else the browser's; fall back to English if its catalogue cannot be loaded. */
export async function startLanguage() {
  const wanted = readPreference('language', preferred);
  if (wanted !== 'en' && wanted in CATALOGUES) await switchTo(wanted).catch(() => {});
}

const PLURAL = /\{(\w+)\|([^|]*)\|((?:[^{}]|\{\w+\})*)\}/g; // {n|run|runs}, {n|a fire|{n} fires}
const PLACE = /\{(\w+)\}/g;

/**
 * Return a text in the language of the page. `{name}` is a placeholder, `{n|run|runs}` a plural.
 * @param {Key} key @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = catalogue[key] ?? en[key] ?? key;
  if (!text.includes('{')) return text;
  return text
    .replace(PLURAL, (_, name, one, many) => (Number(values[name]) === 1 ? one : many))
    .replace(PLACE, (whole, name) => String(values[name] ?? whole));
}

/** Translate a word of the wire, such as a reason; return an unknown one unchanged. @param {string} prefix @param {string} word */
export const word = (prefix, word) => (`${prefix}.${word}` in en ? t(/** @type {Key} */ (`${prefix}.${word}`)) : word);
