// The zone in which times are shown: that of this browser, UTC, or that of the job on the page.
import { computed, signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';

export const LOCAL = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** @type {ReturnType<typeof signal<'local' | 'UTC' | 'job'>>} */
export const zoneChoice = signal(/** @type {any} */ (readPreference('zone', 'local')));

/** The zone of the job on the page, empty for none; set where the page knows it. */
export const jobZone = signal('');

/** The zone in which the page shows times. A change rebuilds the page, as one of the language does. */
export const shownZone = computed(() => (zoneChoice.value === 'UTC' ? 'UTC' : (zoneChoice.value === 'job' && jobZone.value) || LOCAL));

/** @param {'local' | 'UTC' | 'job'} chosen */
export function chooseZone(chosen) {
  zoneChoice.value = chosen;
  savePreference('zone', chosen);
}
