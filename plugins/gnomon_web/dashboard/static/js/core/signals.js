// Signals: values that track their readers. A change marks the readers, then each effect runs once and never sees a
// half-applied change: a computed value in between is re-evaluated first, to see whether it really changed.

const CLEAN = 0, CHECK = 1, DIRTY = 2;

/** @type {Computation | null} the running computation: it depends on whatever it reads */
let reader = null;
/** @type {Scope | null} disposing of it disposes of everything created meanwhile */
let owner = null;
/** @type {Effect[]} */
const queue = [];
let batchDepth = 0;

/** Owns everything created while it runs: a row of a list, or a view. */
class Scope {
  /** @type {Set<{ dispose(): void }>} */
  owned = new Set();

  constructor() {
    this.owner = owner;
    owner?.owned.add(this);
  }

  clear() {
    const owned = [...this.owned];
    this.owned.clear();
    for (const one of owned) one.dispose();
  }

  dispose() {
    this.clear();
    this.owner?.owned.delete(this);
  }
}

/** @template T */
class Source {
  /** @type {Set<Computation>} */
  readers = new Set();

  /** @param {T} value */
  constructor(value) {
    this.current = value;
  }

  get value() {
    this.track();
    return this.current;
  }

  set value(next) {
    if (Object.is(next, this.current)) return;
    this.current = next;
    for (const one of this.readers) one.mark(DIRTY);
    flush();
  }

  /** Read without subscribing. */
  peek() {
    return this.current;
  }

  track() {
    if (reader === null) return;
    this.readers.add(reader);
    reader.sources.add(this);
  }

  refresh() {}
}

class Computation extends Scope {
  /** @type {Set<Source<any>>} */
  sources = new Set();
  state = DIRTY;
  isDisposed = false;

  /** @param {() => any} body */
  constructor(body) {
    super();
    this.body = body;
  }

  /** @param {number} state */
  mark(state) {
    const before = this.state;
    if (state > before) this.state = state;
    if (before === CLEAN) this.onMarked();
  }

  onMarked() {}

  isDirty() {
    return this.state === DIRTY;
  }

  isStale() {
    if (this.state === CHECK) {
      for (const source of this.sources) {
        source.refresh();
        if (this.isDirty()) break;
      }
      if (this.state === CHECK) this.state = CLEAN;
    }
    return this.isDirty();
  }

  run() {
    this.unsubscribe();
    const [outerReader, outerOwner] = [reader, owner];
    reader = this;
    owner = this;
    try {
      return this.body();
    } finally {
      reader = outerReader;
      owner = outerOwner;
      this.state = CLEAN;
    }
  }

  unsubscribe() {
    this.clear();
    for (const source of this.sources) source.readers.delete(this);
    this.sources.clear();
  }

  /** @override */
  dispose() {
    this.isDisposed = true;
    this.unsubscribe();
    super.dispose();
  }
}

class Effect extends Computation {
  /** @override */
  onMarked() {
    queue.push(this);
  }

  /** An effect that raises is reported and does not stop the others. */
  update() {
    if (this.isDisposed || !this.isStale()) return;
    try {
      const cleanup = this.run();
      if (typeof cleanup === 'function') this.owned.add({ dispose: cleanup });
    } catch (error) {
      reportError(error);
    }
  }
}

/** @template T @extends {Source<T>} */
class Computed extends Source {
  /** @param {() => T} body */
  constructor(body) {
    super(/** @type {any} */ (undefined));
    this.computation = new Computation(body);
    this.computation.onMarked = () => {
      for (const one of this.readers) one.mark(CHECK);
    };
  }

  /** @override */
  get value() {
    this.refresh();
    this.track();
    return this.current;
  }

  /** @override */
  peek() {
    this.refresh();
    return this.current;
  }

  /** @override */
  refresh() {
    if (!this.computation.isStale()) return;
    const next = this.computation.run();
    if (Object.is(next, this.current)) return;
    this.current = next;
    for (const one of this.readers) one.state = DIRTY;
  }
}

function flush() {
  if (batchDepth > 0) return;
  batchDepth += 1;
  try {
    for (let one = queue.shift(); one; one = queue.shift()) one.update();
  } finally {
    batchDepth -= 1;
  }
}

/** @template T @param {T} value @returns {Source<T>} */
export const signal = (value) => new Source(value);

/** @template T @param {() => T} body @returns {Computed<T>} a value that is computed when it is read */
export const computed = (body) => new Computed(body);

/** Run now, and again whenever a signal that it read changes. @param {() => any} body @returns {() => void} */
export function effect(body) {
  const made = new Effect(body);
  made.update();
  return () => made.dispose();
}

/** Apply several changes; effects run once, after all of them. @template T @param {() => T} body @returns {T} */
export function batch(body) {
  batchDepth += 1;
  try {
    return body();
  } finally {
    batchDepth -= 1;
    flush();
  }
}

/** Read without subscribing. @template T @param {() => T} body @returns {T} */
export function untracked(body) {
  const outer = reader;
  reader = null;
  try {
    return body();
  } finally {
    reader = outer;
  }
}

/**
 * Run once, without subscribing, as the owner of everything it creates. Nothing owns the scope: the caller disposes of it.
 * @template T @param {() => T} body @returns {[T, () => void]} its result, and a function that disposes of the scope
 */
export function scope(body) {
  const outer = owner;
  owner = null;
  const made = new Scope();
  owner = made;
  try {
    return [untracked(body), () => made.dispose()];
  } finally {
    owner = outer;
  }
}

/** Register a function to call when the current scope is disposed of. @param {() => void} dispose */
export const onDispose = (dispose) => void owner?.owned.add({ dispose });
