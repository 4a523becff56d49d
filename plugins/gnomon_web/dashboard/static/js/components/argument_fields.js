// The arguments of a run as fields, made from the JSON Schema of the function. Loaded with the first form.

/** @typedef {import('../types.d.ts').Schema} Schema */
/** @typedef {import('../types.d.ts').Tools} Tools */
/** @typedef {'choice' | 'switch' | 'number' | 'date' | 'text' | 'lines' | 'json'} Kind */
/** @typedef {{ name: string, control: any, element: Element, show: (value: unknown) => void, read: () => unknown, unchanged: () => boolean }} Field */

const UNSET = Symbol('no argument');
const LONG_TEXT = 60;

/**
 * Return the fields of a form. `read` returns the arguments that differ from those that a run has anyway; it throws an
 * Error for one that is not valid. `fill` shows other values.
 * @param {Tools} tools @param {Schema} schema @param {Record<string, unknown>} values
 */
export function argumentFields(tools, schema, values) {
  const settable = Object.entries(schema.properties ?? {}).filter(([, property]) => !property.readOnly);
  const fields = settable.map(([name, property]) => makeField(tools, name, { ...resolved(schema, property), ...property, required: Array.isArray(schema.required) && schema.required.includes(name) }));
  const known = new Set(Object.keys(schema.properties ?? {}));
  const more = schema.additionalProperties ? moreField(tools, known) : null;

  /** @param {Record<string, unknown>} given */
  const fill = (given) => {
    for (const field of fields) field.show(field.name in given ? given[field.name] : UNSET);
    more?.show(given);
  };
  fill(values);
  return {
    elements: [...fields.map((field) => field.element), more?.element],
    fill,
    read: () => ({
      ...Object.fromEntries(fields.filter((field) => !field.unchanged()).map((field) => [field.name, field.read()]).filter(([, value]) => value !== UNSET)),
      ...more?.read(),
    }),
  };
}

/** Return the schema that a property refers to; of a type or null, the type, with `nullable`. @param {Schema} schema @param {Schema} property @returns {Schema} */
export function resolved(schema, property) {
  if (property.$ref) return resolved(schema, schema.$defs?.[property.$ref.replace('#/$defs/', '')] ?? {});
  const types = (property.anyOf ?? []).filter((/** @type {Schema} */ one) => one.type !== 'null');
  if (!property.anyOf) return property;
  const nullable = types.length < property.anyOf.length;
  if (types.length === 1) return { ...resolved(schema, types[0]), nullable };
  return { ...(types.every((/** @type {Schema} */ one) => resolved(schema, one).type === 'string') ? { type: 'string' } : {}), nullable };
}

/** @param {Schema} property @returns {Kind} */
export function kindOf(property) {
  if (property.enum || (property.type === 'boolean' && property.nullable)) return 'choice';
  if (property.type === 'boolean') return 'switch';
  if (property.type === 'integer' || property.type === 'number') return 'number';
  if (property.type !== 'string') return 'json';
  if (property.format === 'date') return 'date';
  return typeof property.default === 'string' && (property.default.length > LONG_TEXT || property.default.includes('\n')) ? 'lines' : 'text';
}

const EXAMPLES = /** @type {Record<string, string>} */ ({
  'date-time': '2026-12-31T18:00:00+01:00', time: '18:00:00', duration: '5m', uuid: '7b1f3f0e-6d0a-4c6b-9d59-0c3f5ad2c0a1', path: '/srv/data', 'time-zone': 'Europe/Paris',
});

/** @param {Tools} tools @param {string} name @param {Schema} property @returns {Field} */
function makeField({ h, t }, name, property) {
  const kind = kindOf(property);
  const secret = property['x-secret'];
  const choices = [...(property.enum ?? [true, false]), ...(property.nullable ? [null] : [])];
  const required = property.required === true;
  const common = { name: `arg.${name}`, required: required && kind !== 'switch', autocomplete: 'off', spellcheck: 'false', placeholder: secret ? t('arg.secret', { where: secret }) : EXAMPLES[property.format ?? ''] };
  const control = kind === 'choice'
    ? h('select', { name: common.name }, choices.map((value, index) => h('option', { value: String(index) }, value === null ? '–' : String(value))))
    : kind === 'lines' || kind === 'json'
      ? h('textarea', { ...common, rows: 3, class: kind === 'json' ? 'mono' : null })
      : h('input', { ...common, type: { switch: 'checkbox', number: 'number', date: 'date' }[/** @type {string} */ (kind)] ?? 'text', step: kind !== 'number' ? null : property.type === 'integer' ? 1 : 'any', min: property.minimum, max: property.maximum });

  /** @param {unknown} value */
  const show = (value) => {
    const shown = value === UNSET ? property.default : value;
    if (kind === 'choice') control.value = String(Math.max(choices.findIndex((one) => same(one, shown)), 0));
    else if (kind === 'switch') control.checked = shown === true;
    else if (kind === 'json') control.value = shown === undefined ? '' : JSON.stringify(shown, null, 2);
    else control.value = shown === undefined || shown === null || typeof shown === 'object' ? '' : String(shown);
  };

  const read = () => {
    if (kind === 'choice') return choices[Number(control.value)];
    if (kind === 'switch') return control.checked;
    const text = control.value;
    if (text.trim() === '') return emptyValue();
    if (kind === 'number') return Number(text);
    return kind === 'json' ? parsed(text, t('arg.bad', { name: property.title ?? name })) : text;
  };

  /** What an empty field stands for: nothing, unless the argument may be null or an empty text. */
  const emptyValue = () => {
    if (secret || !('default' in property)) return UNSET;
    if (property.nullable) return null;
    return property.type === 'string' && !property.format ? '' : UNSET;
  };

  const unchanged = () => {
    const value = read();
    return value === UNSET || ('default' in property && same(value, property.default));
  };
  const words = [h('span', null, property.title ?? name), property.description && h('small', null, property.description)];
  const element = kind === 'switch' ? h('label', { class: 'check' }, control, h('span', null, words)) : h('label', { class: 'field' }, words[0], control, words[1]);
  return { name, control, element, show, read, unchanged };
}

/** A field for arguments that the function takes under any name. @param {Tools} tools @param {Set<string>} known */
function moreField({ h, t }, known) {
  const control = h('textarea', { name: 'kwargs', rows: 3, class: 'mono', autocomplete: 'off', spellcheck: 'false' });
  return {
    element: h('label', { class: 'field' }, h('span', null, t('arg.more')), control),
    /** @param {Record<string, unknown>} given */
    show: (given) => {
      const rest = Object.entries(given).filter(([name]) => !known.has(name));
      control.value = rest.length > 0 ? JSON.stringify(Object.fromEntries(rest), null, 2) : '';
    },
    read: () => readObject(control.value, t),
  };
}

/** @param {string} text @param {Tools['t']} t @returns {Record<string, unknown>} */
export function readObject(text, t) {
  if (text.trim() === '') return {};
  const value = parsed(text, t('trigger.kwargs.bad'));
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Error(t('trigger.kwargs.object'));
  return value;
}

/** @param {string} text @param {string} problem @returns {any} */
function parsed(text, problem) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${problem}: ${/** @type {Error} */ (error).message}`, { cause: error });
  }
}

/** @param {unknown} one @param {unknown} other */
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
