// Group the events of a run: consecutive progress becomes one node, long gaps are marked.

/** @typedef {import('../types.d.ts').LogEvent} LogEvent */

/**
 * @typedef {object} Node
 * @property {LogEvent} event the last event of the node
 * @property {number} first position of the first event
 * @property {number} count number of its events
 * @property {number} offset seconds from the start of the run
 * @property {number} gap seconds without events before it, 0 if short
 */

// A gap is long if it exceeds this multiple of the median, this multiple of the third quartile, and a minimum.
const TIMES_MEDIAN = 10;
const TIMES_QUARTILE = 3;
const MIN_GAP_S = 5;

/** Whether an event only updates the progress of the current step. @param {LogEvent} event */
const isPlainProgress = (event) => event.type === 'progress' && event.step == null && !event.steps && !event.skipped;

/** @param {LogEvent[]} events @param {boolean} isGrouped @returns {Node[]} */
export function groupEvents(events, isGrouped) {
  const start = Date.parse((events.find((event) => event.type === 'started') ?? events[0])?.at ?? '');
  const lengths = gaps(events);
  const long = Math.max(TIMES_MEDIAN * median(lengths), TIMES_QUARTILE * (quantile(lengths, 0.75) ?? 0), MIN_GAP_S);
  /** @type {Node[]} */
  const nodes = [];
  events.forEach((event, index) => {
    const at = Date.parse(event.at);
    const before = index === 0 ? 0 : (at - Date.parse(events[index - 1].at)) / 1000;
    const gap = before > long ? before : 0;
    const previous = nodes.at(-1);
    if (isGrouped && previous && gap === 0 && isPlainProgress(event) && isPlainProgress(previous.event)) {
      Object.assign(previous, { event: { ...previous.event, ...event }, count: previous.count + 1, offset: (at - start) / 1000 });
    } else {
      nodes.push({ event, first: event.position, count: 1, offset: (at - start) / 1000, gap });
    }
  });
  return nodes;
}

/** @param {LogEvent[]} events */
const gaps = (events) => events.slice(1).map((event, index) => (Date.parse(event.at) - Date.parse(events[index].at)) / 1000);

/** @param {number[]} values @returns {number} */
export function median(values) {
  if (values.length === 0) return 0;
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

/** The quantile of some values. @param {number[]} values @param {number} share @returns {number | null} */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
}
