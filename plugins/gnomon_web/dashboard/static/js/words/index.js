// All words that people read. English is the catalogue that the others are held against.
import { signal } from '../core/signals.js';
import { recall, remember } from '../core/memory.js';
import { en } from './en.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, () => Record<Key, string> | Promise<Record<Key, string>>>} other languages come when they are spoken */
export const CATALOGUES = { en: () => en, 'zh-CN': () => import('./zh.js').then(({ zh }) => zh) };
export const LANGUAGES = { en: 'English', 'zh-CN': '简体中文' };

const preferred = navigator.languages.some((one) => one.toLowerCase().startsWith('zh')) ? 'zh-CN' : 'en';
/** @type {Record<Key, string>} */
let catalogue = en;

/** The language of the page. Its change builds the page anew, so that words need not be followed one by one. */
export const language = signal('en');

/** @param {string} wanted */
async function turnTo(wanted) {
  catalogue = await CATALOGUES[wanted]();
  language.value = wanted;
}

/** @param {string} chosen */
export async function speak(chosen) {
  await turnTo(chosen);
  remember('language', chosen);
}

/** Begin in the language that was chosen here before, else in that of the browser; where it cannot be loaded, in English. */
export async function startLanguage() {
  const wanted = recall('language', preferred);
  if (wanted !== 'en' && wanted in CATALOGUES) await turnTo(wanted).catch(() => {});
}

const PLURAL = /\{(\w+)\|([^|]*)\|((?:[^{}]|\{\w+\})*)\}/g; // {n|run|runs}, {n|a fire|{n} fires}
const PLACE = /\{(\w+)\}/g;

/**
 * Say something in the language of the page. `{name}` is a place for a value, `{n|run|runs}` a word that goes by a number.
 * @param {Key} key @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = catalogue[key] ?? en[key] ?? key;
  if (!text.includes('{')) return text;
  return text
    .replace(PLURAL, (_, name, one, many) => (Number(values[name]) === 1 ? one : many))
    .replace(PLACE, (whole, name) => String(values[name] ?? whole));
}

/** Say a word of the wire, such as a reason; one that nobody knows is said as it is. @param {string} prefix @param {string} word */
export const word = (prefix, word) => (`${prefix}.${word}` in en ? t(/** @type {Key} */ (`${prefix}.${word}`)) : word);
