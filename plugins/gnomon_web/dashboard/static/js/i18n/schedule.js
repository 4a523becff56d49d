// Describe schedules in words. The server does so in English; here the common ones are described in other languages.
import { language, t } from './index.js';
import { wholeDuration } from './format.js';

/** @typedef {import('../types.d.ts').Job} Job */

/** @param {Job} job */
export function scheduleInWords(job) {
  const described = job.schedule || job.trigger || '';
  if (language.peek() === 'en') return described || t('schedule.manual');
  const config = job.trigger_config ?? {};
  if (config.cron ?? config.expression) return cronInWords(String(config.cron ?? config.expression)) ?? `cron: ${config.cron ?? config.expression}`;
  const every = secondsOf(config.every ?? config.seconds);
  if (every !== null) return t('schedule.every', { t: wholeDuration(every) });
  return Object.keys(config).length === 0 || /^only when/i.test(described) ? t('schedule.manual') : described;
}

const UNITS = /** @type {Record<string, number>} */ ({ ms: 0.001, s: 1, m: 60, h: 3600, d: 86400, w: 604800 });

/** @param {unknown} text a number of seconds, or a text such as "1h 30m" */
export function secondsOf(text) {
  if (typeof text === 'number') return text;
  if (typeof text !== 'string') return null;
  const parts = [...text.matchAll(/([\d.]+)\s*(ms|s|m|h|d|w)/g)];
  return parts.length === 0 ? null : parts.reduce((sum, [, value, unit]) => sum + Number(value) * UNITS[unit], 0);
}

/** Describe a simple cron expression; return null for any other. @param {string} expression */
export function cronInWords(expression) {
  const [minute, hour, day, month, weekday, more] = expression.trim().split(/\s+/);
  if (weekday === undefined || more !== undefined || month !== '*') return null;
  const step = /^\*\/(\d+)$/;
  const everyDay = day === '*' && weekday === '*';
  if (everyDay && hour === '*' && step.test(minute)) return t('schedule.minutes', { n: step.exec(minute)?.[1] ?? '' });
  if (everyDay && hour === '*' && minute === '*') return t('schedule.minutes', { n: 1 });
  if (everyDay && hour === '*' && /^\d+$/.test(minute)) return t('schedule.hourly', { m: minute });
  if (everyDay && step.test(hour) && /^\d+$/.test(minute)) return t('schedule.hours', { n: step.exec(hour)?.[1] ?? '', m: minute });
  if (!/^\d+$/.test(minute) || !/^\d+$/.test(hour)) return null;
  const at = `${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
  if (everyDay) return t('schedule.daily', { at });
  if (day === '*' && weekday === '1-5') return t('schedule.workdays', { at });
  if (weekday === '*' && /^\d+$/.test(day)) return t('schedule.monthly', { day, at });
  return null;
}
