// The counts of a timeline by lane, bucket and outcome.

/** @typedef {import('../types.d.ts').Lane} Lane */
/** @typedef {import('../types.d.ts').Lanes} Lanes */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */
/** @typedef {typeof WORST_FIRST[number]} Outcome */

export const WORST_FIRST = /** @type {const} */ (['failed', 'missed', 'cancelled', 'success']); // from the worst to the best

/** The outcome with which an event ends a run. */
export const END_OF = /** @type {Record<string, Outcome>} */ ({ succeeded: 'success', failed: 'failed', missed: 'missed', cancelled: 'cancelled' });

/** The begins of all buckets and the end of the last one, in milliseconds. @param {Lanes} lanes @returns {number[]} */
export function edgesOf(lanes) {
  const begin = Date.parse(lanes.from);
  const starts = lanes.starts?.map((at) => Date.parse(at)) ?? Array.from({ length: lanes.buckets }, (_, bucket) => begin + bucket * lanes.bucket_s * 1000);
  return [...starts, Date.parse(lanes.to)];
}

/** The runs of a bucket by status, from the worst. @param {Lane} lane @param {number} bucket @returns {[Outcome, number][]} */
export const countsOf = (lane, bucket) =>
  WORST_FIRST.flatMap((status) => (lane[status]?.[bucket] ? [/** @type {[Outcome, number]} */ ([status, lane[status][bucket]])] : []));

/** All runs of a lane. @param {Lane} lane */
export const runsOfLane = ({ total }) => total.success + total.failed + total.missed + total.cancelled;

/** Add runs that ended after the position of the answer. @param {Lanes} lanes @param {LogEvent[]} ends @returns {Lanes} */
export function withEnds(lanes, ends) {
  const edges = edgesOf(lanes);
  const next = { ...lanes, all: copyOf(lanes.all), others: lanes.others && copyOf(lanes.others), lanes: lanes.lanes.map(copyOf) };
  for (const event of ends) {
    const bucket = edges.findLastIndex((edge) => edge <= Date.parse(event.at));
    if (bucket < 0 || bucket >= lanes.buckets) continue;
    const own = next.lanes.find((lane) => lane.job_id === event.job_id) ?? next.others;
    for (const lane of own ? [next.all, own] : [next.all]) addEnd(lane, bucket, END_OF[event.type], event.count ?? 1);
  }
  return next;
}

/** @param {Lane} lane @returns {Lane} */
const copyOf = (lane) => ({ ...lane, total: { ...lane.total } });

/** @param {Lane} lane @param {number} bucket @param {Outcome} status @param {number} count */
function addEnd(lane, bucket, status, count) {
  const column = [...(lane[status] ?? Array.from(lane.worst, () => 0))];
  column[bucket] += count;
  lane[status] = column;
  lane.total[status] += count;
  const worst = /** @type {[string, number][]} */ (countsOf(lane, bucket))[0][0][0];
  lane.worst = lane.worst.slice(0, bucket) + worst + lane.worst.slice(bucket + 1);
}
