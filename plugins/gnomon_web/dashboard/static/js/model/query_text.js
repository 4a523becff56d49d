// The filters of a list as one text, such as `status:failed late>1m "no answer"`, and as parameters of the address. The
// server reads the text; the page only knows how its terms are written, and which of them are parameters.

/** @typedef {Record<string, string>} Query */
/** @typedef {Record<string, string>} Fields from a key of the text to the parameter of the address that says the same */

/** @type {Fields} */
export const RUN_FIELDS = { status: 'status', job: 'job_id', manual: 'is_manual', label: 'label', since: 'since', until: 'until' };
/** @type {Fields} */
export const JOB_FIELDS = { status: 'status', tag: 'tag' };

const TERMS = /(?:"(?:[^"\\]|\\.)*"?|[^\s"])+/g;
const HEAD = /^([a-z_]+)(:|>=?|<=?|=)(.*)$/is;
const LISTS = ['status', 'label'];
/** A text that is being typed ends with a term that is not complete. */
const UNFINISHED = /(?:^|\s)[a-z_]+(?:[:<>=]+\S*)$|"[^"]*$/i;

/** Whether a text can be asked for while it is being typed. @param {string} text */
export const isComplete = (text) => !UNFINISHED.test(text);

/** @param {string} raw */
const unquoted = (raw) => raw.replace(/"((?:[^"\\]|\\.)*)"?/g, (_, inner) => inner.replace(/\\(.)/g, '$1'));

/** @param {string} text @param {RegExp} plain */
const quoted = (text, plain) => (plain.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`);

/** A value as it is written in a text. @param {string} value */
export const quotedValue = (value) => quoted(value, /^[^\s",]+$/);

/** The parameters that a text stands for; `query` has the other terms. @param {string} text @param {Fields} fields @returns {Record<string, string | null>} */
export function paramsOf(text, fields) {
  /** @type {Record<string, string | null>} */
  const found = Object.fromEntries([...Object.values(fields), 'q', 'query'].map((name) => [name, null]));
  const [rest, words] = [/** @type {string[]} */ ([]), /** @type {string[]} */ ([])];
  for (const raw of text.match(TERMS) ?? []) {
    const [, key, operator, value] = HEAD.exec(raw) ?? [];
    const param = fields[(key ?? '').toLowerCase()];
    const isPlain = value && !/["*?]/.test(value) && (LISTS.includes(param) || !value.includes(','));
    if (key === undefined) words.push(unquoted(raw));
    else if (param && operator === ':' && isPlain && found[param] === null) found[param] = param === 'label' ? value.replace('=', ':') : value;
    else rest.push(raw);
  }
  found.q = words.join(' ') || null;
  found.query = rest.join(' ') || null;
  return found;
}

/** The text that the parameters of an address stand for. @param {Query} query @param {Fields} fields */
export function textOf(query, fields) {
  const terms = Object.entries(fields).flatMap(([key, param]) => {
    const value = query[param];
    if (!value) return [];
    if (param === 'label') return value.split(',').map((label) => `label:${quotedValue(label.replace(':', '='))}`);
    return [`${key}:${param === 'status' ? value : quotedValue(value)}`];
  });
  const words = (query.q ?? '').split(' ').every((word) => /^[^\s",:<>=\\]+$/.test(word)) ? query.q : quoted(query.q ?? '', /^$/);
  return [...terms, query.query, words].filter(Boolean).join(' ');
}

/** The parameters of an address that are filters. @param {Query} query @param {Fields} fields @returns {Query} */
export const filtersOf = (query, fields) =>
  Object.fromEntries([...Object.values(fields), 'q', 'query'].filter((name) => query[name]).map((name) => [name, query[name]]));
