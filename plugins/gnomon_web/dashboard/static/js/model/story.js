// The events of a run as a story: progress folded to one node, long waits drawn as such.

/** @typedef {import('../types.d.ts').LogEvent} LogEvent */

/**
 * @typedef {object} Node
 * @property {LogEvent} event the last one of the node
 * @property {number} first position of the first event
 * @property {number} count how many events it stands for
 * @property {number} offset seconds from the start of the run
 * @property {number} gap seconds of silence before it, 0 where they were short
 */

// A silence is long at so many times the median, and at so many times what three quarters of them are.
const LONG = 10;
const LONGER = 3;
const SHORTEST = 5; // seconds below which no silence is worth a word

/** Whether an event only moves on the progress of the step before it. @param {LogEvent} event */
const isMere = (event) => event.type === 'progress' && event.step == null && !event.steps && !event.skipped;

/** @param {LogEvent[]} events @param {boolean} folded @returns {Node[]} */
export function story(events, folded) {
  const start = Date.parse((events.find((event) => event.type === 'started') ?? events[0])?.at ?? '');
  const silences = gaps(events);
  const long = Math.max(LONG * median(silences), LONGER * (quantile(silences, 0.75) ?? 0), SHORTEST);
  /** @type {Node[]} */
  const nodes = [];
  events.forEach((event, index) => {
    const at = Date.parse(event.at);
    const silence = index === 0 ? 0 : (at - Date.parse(events[index - 1].at)) / 1000;
    const gap = silence > long ? silence : 0;
    const previous = nodes.at(-1);
    if (folded && previous && gap === 0 && isMere(event) && isMere(previous.event)) {
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

/** The value below which a share of the values lies. @param {number[]} values @param {number} share @returns {number | null} */
export function quantile(values, share) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
}
