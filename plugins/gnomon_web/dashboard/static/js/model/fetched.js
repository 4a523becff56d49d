// Resources of the server that a view requests, for data that no event carries.
import { effect, signal } from '../core/signals.js';
import { get } from './api.js';
import * as store from './store.js';

/**
 * A resource of the server, requested again when `changes` does.
 * @param {() => string} path @param {() => unknown} changes @param {() => Record<string, any>} [query]
 */
export function fetched(path, changes, query = () => ({})) {
  const again = () => (attempts.value += 1);
  const attempts = signal(0);
  const found = signal(/** @type {{ value: any, error: Error | null, again: () => void }} */ ({ value: null, error: null, again }));
  effect(() => {
    changes();
    attempts.value;
    store.generation.value;
    const abort = new AbortController();
    get(path(), query(), abort.signal).then(
      (value) => (found.value = { value, error: null, again }),
      (error) => abort.signal.aborted || (found.value = { ...found.peek(), error, again }),
    );
    return () => abort.abort();
  });
  return found;
}
