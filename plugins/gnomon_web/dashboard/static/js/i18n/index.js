// Every text that people read. The English catalogue defines the keys; the others are checked against it.
import { signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { en } from './en.js';

/** @typedef {keyof typeof en | keyof typeof import('./en_pages.js').enPages} Key */
/** @typedef {Record<string, string>} Words */

/** @type {Record<string, (() => Words | Promise<Words>)[]>} in two parts: the words of the first visit, and those of what is loaded later */
export const CATALOGUES = {
  en: [() => en, () => import('./en_pages.js').then(({ enPages }) => enPages)],
  'zh-CN': [() => import('./zh.js').then(({ zh }) => zh), () => import('./zh_pages.js').then(({ zhPages }) => zhPages)],
};
/** Sentences that the server words in English only, in the same parts. @type {Record<string, (() => Promise<Words>)[]>} */
export const SERVER_SENTENCES = { 'zh-CN': [() => import('./zh.js').then(({ zhSaid }) => zhSaid), () => import('./zh_pages.js').then(({ zhExplained }) => zhExplained)] };
export const LANGUAGES = { en: 'English', 'zh-CN': '简体中文' };

const preferred = navigator.languages.some((one) => one.toLowerCase().startsWith('zh')) ? 'zh-CN' : 'en';
/** @type {Words} what a language lacks is shown in English */
let english = en;
/** @type {Words} */
let catalogue = en;
let parts = 1;
/** @type {Words} */
let ownSentences = {};

/** The sentences of the server in the language of the page. */
export const sentences = () => ownSentences;

/** The language of the page. A change rebuilds the whole page, so texts need no signal of their own. */
export const language = signal('en');

/** @param {(() => Words | Promise<Words>)[]} [loads] @returns {Promise<Words>} */
const readParts = async (loads = []) => Object.assign({}, ...(await Promise.all(loads.slice(0, parts).map((load) => load()))));

/** @param {string} wanted */
async function readLanguage(wanted) {
  [catalogue, ownSentences] = await Promise.all([readParts(CATALOGUES[wanted]), readParts(SERVER_SENTENCES[wanted])]);
}

/** @param {string} wanted */
async function switchTo(wanted) {
  await readLanguage(wanted);
  language.value = wanted;
}

/** @type {Promise<void> | null} */
let loading = null;

/** Wait for code that is loaded later, and for its words. @template T @param {Promise<T>} code @returns {Promise<T>} */
export async function withWords(code) {
  loading ??= readAllWords().catch((error) => {
    [parts, loading] = [1, null];
    throw error;
  });
  return (await Promise.all([code, loading]))[0];
}

async function readAllWords() {
  parts = 2;
  english = await readParts(CATALOGUES.en);
  await readLanguage(language.peek());
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
  const text = catalogue[key] ?? english[key] ?? key;
  if (!text.includes('{')) return text;
  return text
    .replace(PLURAL, (_, name, one, many) => (Number(values[name]) === 1 ? one : many))
    .replace(PLACE, (whole, name) => String(values[name] ?? whole));
}

/** Translate a word of the wire, such as a reason; return an unknown one unchanged. @param {string} prefix @param {string} word */
export const word = (prefix, word) => (`${prefix}.${word}` in english ? t(/** @type {Key} */ (`${prefix}.${word}`)) : word);
