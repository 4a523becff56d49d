// The keys of a job as a form, with the preview of what they would do beside it. Loaded with the first form.

/** @typedef {import('../types.d.ts').Tools} Tools */
/** @typedef {import('../types.d.ts').Schema} Schema */
/** @typedef {import('../types.d.ts').JobPreview} JobPreview */
/** @typedef {ReturnType<typeof import('./argument_fields.js').argumentFields>} Fields */
/** @typedef {{ argumentFields: typeof import('./argument_fields.js').argumentFields, readObject: typeof import('./argument_fields.js').readObject }} Arguments */
/** @typedef {{ keys: Record<string, any>, isNew: boolean, preview: (keys: object) => Promise<JobPreview>, sourceOf: (id: string) => Promise<Source | null>, schema: Schema | null }} Draft */
/** @typedef {{ schema: Schema, kwargs: Record<string, unknown> }} Source */

const PREVIEW_DELAY_MS = 250;
const SCHEDULE_KINDS = ['cron', 'every', 'at'];

/**
 * Return the form for the keys of a job: `element`, and `read`, which returns the keys and throws an Error for a text
 * that is not valid JSON. `sourceOf` returns the parameters and the arguments of a job, null where there is none.
 * @param {Tools} tools @param {Arguments} inputs @param {Draft} draft
 */
export function jobForm(tools, inputs, draft) {
  const { h, t, signal } = tools;
  const { id = '', func = '', timezone = '', kwargs = {}, ...rest } = draft.keys;
  const kind = SCHEDULE_KINDS.find((one) => one in rest) ?? '';
  const more = Object.fromEntries(Object.entries(rest).filter(([key]) => key !== kind));
  const fields = signal(/** @type {Fields} */ (argumentsOf(tools, inputs, draft.schema, kwargs)));
  const field = (/** @type {string} */ label, /** @type {any} */ control, hint = '') => h('label', { class: 'field' }, h('span', null, label), control, hint && h('small', null, hint));
  const text = (/** @type {string} */ name, /** @type {unknown} */ value, more = {}) => h('input', { name, value: String(value), autocomplete: 'off', spellcheck: 'false', ...more });

  const controls = {
    id: text('id', id, { required: true, maxlength: 128, readonly: !draft.isNew }),
    func: text('func', func, { required: true, class: 'mono', onchange: () => void followFunction() }),
    kind: h('select', { name: 'schedule' }, ['', ...SCHEDULE_KINDS].map((one) => h('option', { value: one, selected: one === kind }, t(/** @type {any} */ (`job.schedule.${one || 'none'}`))))),
    schedule: text('value', kind ? rest[kind] : '', { class: 'mono', 'aria-label': t('job.schedule.value') }),
    timezone: text('timezone', timezone, { placeholder: 'Europe/Paris' }),
    more: h('textarea', { name: 'more', rows: 4, class: 'mono', spellcheck: 'false', autocomplete: 'off', value: Object.keys(more).length > 0 ? JSON.stringify(more, null, 2) : '' }),
  };

  async function followFunction() {
    const source = controls.func.value.includes(':') ? null : await draft.sourceOf(controls.func.value);
    let given = kwargs;
    try {
      given = fields.peek().read();
    } catch {
      // a text that is not valid JSON has no place in other fields
    }
    fields.value = argumentsOf(tools, inputs, source?.schema ?? null, { ...source?.kwargs, ...given });
    shown.later();
  }

  /** @returns {Record<string, any>} */
  function read() {
    const given = fields.value.read();
    /** @type {Record<string, any>} */
    const keys = { ...inputs.readObject(controls.more.value, t), id: controls.id.value.trim(), func: controls.func.value.trim() };
    if (controls.kind.value) keys[controls.kind.value] = controls.schedule.value.trim();
    if (controls.timezone.value.trim()) keys.timezone = controls.timezone.value.trim();
    if (Object.keys(given).length > 0) keys.kwargs = given;
    return keys;
  }

  const shown = previewOf(tools, () => draft.preview(read()));
  const element = h('div', { class: 'job-form', oninput: shown.later, onchange: shown.later }, [
    h('div', { class: 'job-keys' }, [
      field(t('job.id'), controls.id),
      field(t('job.func'), controls.func, t('job.func.hint')),
      h('div', { class: 'pair' }, field(t('job.schedule'), controls.kind), field(t('job.schedule.value'), controls.schedule)),
      field(t('job.timezone'), controls.timezone),
      () => fields.value.elements,
      field(t('job.more'), controls.more, t('job.more.hint')),
    ]),
    h('section', { class: 'job-preview', 'aria-label': t('job.preview'), 'aria-live': 'polite' }, shown.element),
  ]);
  shown.now();
  return { element, read };
}

/** The arguments as fields of their types, or as JSON where the parameters are not known. @param {Tools} tools @param {Arguments} inputs @param {Schema | null} schema @param {Record<string, unknown>} kwargs @returns {Fields} */
function argumentsOf(tools, inputs, schema, kwargs) {
  const typed = schema ? ofDefinition(schema, kwargs) : { additionalProperties: true };
  const fields = inputs.argumentFields(tools, typed, kwargs);
  const secrets = Object.entries(kwargs).filter(([name]) => typed.properties?.[name]?.['x-secret']);
  return { ...fields, read: () => ({ ...Object.fromEntries(secrets), ...fields.read() }) };
}

/** The schema of the arguments of a definition: no value of the job is a default, and overrides do not count. @param {Schema} schema @param {Record<string, unknown>} kwargs @returns {Schema} */
export function ofDefinition(schema, kwargs) {
  const properties = Object.entries(schema.properties ?? {}).map(([name, given]) => {
    const property = { ...given };
    delete property.readOnly;
    if (name in kwargs) delete property.default;
    return [name, property];
  });
  return { ...schema, properties: Object.fromEntries(properties) };
}

/** What the keys would do. @param {Tools} tools @param {() => Promise<JobPreview>} ask */
function previewOf({ h, t, signal, moment, clean }, ask) {
  const found = signal(/** @type {JobPreview | null} */ (null));
  let timer = 0;
  let asked = 0;

  async function now() {
    asked += 1;
    const turn = asked;
    let answer;
    try {
      answer = await ask();
    } catch (error) {
      answer = { problems: [{ key: '', detail: /** @type {Error} */ (error).message }] };
    }
    if (turn === asked) found.value = answer;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => void now(), PREVIEW_DELAY_MS);
  }

  const list = (/** @type {{ key: string, detail: string }[]} */ all, /** @type {string} */ look) =>
    all.length > 0 && h('ul', { class: look }, all.map(({ key, detail }) => h('li', null, key && h('code', null, key), ' ', clean(detail))));

  const element = () => {
    if (!found.value) return h('p', { class: 'quiet-line' }, t('loading'));
    const { problems = [], warnings = [], schedule, timezone, next_run_times: times = [], gained, lost, notes = [] } = found.value;
    return [
      h('h3', null, problems.length > 0 ? t('job.problems') : t('job.preview')),
      list(problems, 'problems'),
      list(warnings, 'warnings'),
      schedule && h('p', { class: 'schedule-words' }, clean(schedule), timezone && h('span', { class: 'faint' }, ` ${timezone}`)),
      times.length > 0 && h('ol', { class: 'times' }, times.map((at) => h('li', null, moment(at)))),
      gained && lost && gained.count + lost.count > 0 && h('p', { class: 'faint' }, t('job.fires', { gained: gained.count, lost: lost.count })),
      notes.map((note) => h('p', { class: 'faint' }, clean(note))),
    ];
  };
  return { element, now, later };
}
