// Sentences of the server: it words them in English, and gives their codes and values to the other languages.
import { clean } from '../model/sanitize.js';
import { duration, fullMoment, number } from './format.js';
import { sentences, word } from './index.js';

/** @typedef {import('../types.d.ts').Statement} Statement */

/** Values that are words of the catalogue, by their names. @type {Record<string, string>} */
const WORDS_OF = { reason: 'reason', state: 'health', fate: 'status' };

const VALUE = /\{(\w+)\}/g;
const OPTIONAL = /\[([^\]]*)\]/g; // left out where its values are

/**
 * A sentence in the language of the page; the English one where there is no other.
 * @param {Statement | null | undefined} said @param {string} english @param {(at: string) => string} [moment]
 */
export const saidInWords = (said, english, moment = fullMoment) => clean((said && withValues(said, moment)) ?? english);

/** @param {Statement} said @param {(at: string) => string} moment @returns {string | null} null for a sentence that the language does not have */
function withValues({ code, values }, moment) {
  const text = sentences()[code];
  if (text === undefined) return null;
  const known = text.replace(OPTIONAL, (_, part) => ([...part.matchAll(VALUE)].every(([, name]) => name in values) ? part : ''));
  return known.replace(VALUE, (_, name) => {
    const value = values[name] ?? '';
    if (typeof value === 'object') return withValues(value, moment) ?? value.code;
    if (name.endsWith('_s')) return duration(Number(value));
    if (name.endsWith('_at')) return moment(String(value));
    if (name in WORDS_OF) return sentences()[`${name}.${value}`] ?? word(WORDS_OF[name], String(value));
    return typeof value === 'number' ? number(value) : value;
  });
}
