// All words that people read. English is the catalogue that the others are held against.
import { signal } from '../core/signals.js';
import { recall, remember } from '../core/memory.js';
import { en } from './en.js';
import { zh } from './zh.js';

/** @typedef {keyof typeof en} Key */

/** @type {Record<string, Record<Key, string>>} */
export const CATALOGUES = { en, 'zh-CN': zh };
export const LANGUAGES = { en: 'English', 'zh-CN': '简体中文' };

const preferred = navigator.languages.some((one) => one.toLowerCase().startsWith('zh')) ? 'zh-CN' : 'en';
const kept = recall('language', preferred);

/** The language of the page. Its change builds the page anew, so that words need not be followed one by one. */
export const language = signal(kept in CATALOGUES ? kept : 'en');

/** @param {string} chosen */
export function speak(chosen) {
  remember('language', chosen);
  language.value = chosen;
}

const PLURAL = /\{(\w+)\|([^|]*)\|((?:[^{}]|\{\w+\})*)\}/g; // {n|run|runs}, {n|a fire|{n} fires}
const PLACE = /\{(\w+)\}/g;

/**
 * Say something in the language of the page. `{name}` is a place for a value, `{n|run|runs}` a word that goes by a number.
 * @param {Key} key @param {Record<string, string | number>} [values]
 */
export function t(key, values = {}) {
  const text = CATALOGUES[language.peek()]?.[key] ?? en[key] ?? key;
  if (!text.includes('{')) return text;
  return text
    .replace(PLURAL, (_, name, one, many) => (Number(values[name]) === 1 ? one : many))
    .replace(PLACE, (whole, name) => String(values[name] ?? whole));
}

/** Say a word of the wire, such as a reason; one that nobody knows is said as it is. @param {string} prefix @param {string} word */
export const word = (prefix, word) => (`${prefix}.${word}` in en ? t(/** @type {Key} */ (`${prefix}.${word}`)) : word);
