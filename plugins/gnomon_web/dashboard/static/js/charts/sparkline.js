// The recent runs of a job, word-sized: a bar per run, its height the duration, its colour the outcome.
import { s } from '../core/dom.js';
import { duration, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Run} Run */

const BARS = 24;
const WIDTH = 5;
const SPARK_HEIGHT = 24;

/** @param {Pick<Run, 'status' | 'timestamp' | 'execution_time'>[]} runs newest first */
export function spark(runs) {
  const shown = runs.slice(0, BARS).reverse();
  const longest = Math.max(...shown.map((run) => run.execution_time ?? 0), 0.001);
  const failed = shown.filter((run) => run.status === 'failed').length;
  const label = shown.length === 0 ? t('spark.none') : t('spark.label', { n: shown.length, f: failed, t: duration(longest) });
  const empty = BARS - shown.length;
  return s('svg', { class: 'spark', viewBox: `0 0 ${BARS * WIDTH} ${SPARK_HEIGHT}`, width: BARS * WIDTH, height: SPARK_HEIGHT, role: 'img', 'aria-label': label }, [
    Array.from({ length: empty }, (_, index) => s('rect', { class: 'ghost', x: index * WIDTH, y: SPARK_HEIGHT - 2, width: WIDTH - 2, height: 2, rx: 1 })),
    shown.map((run, index) => {
      const height = run.execution_time == null ? 3 : 3 + Math.sqrt(run.execution_time / longest) * (SPARK_HEIGHT - 3);
      const title = `${t(`status.${run.status}`)} · ${shortMoment(run.timestamp)} · ${duration(run.execution_time)}`;
      return s('rect', { class: `mark ${run.status}`, x: (empty + index) * WIDTH, y: SPARK_HEIGHT - height, width: WIDTH - 2, height, rx: 1 }, s('title', null, title));
    }),
  ]);
}
