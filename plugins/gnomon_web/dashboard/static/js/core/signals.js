// Signals: values that know who reads them. A change marks the readers, then each effect runs once and never sees a
// half-changed world: a computed value in between is asked first whether it is really another one.

const CLEAN = 0, CHECK = 1, DIRTY = 2;

/** @type {Computation | null} What runs now: whatever it reads, it depends on. */
let reader = null;
/** @type {Scope | null} What is made now is disposed of together with this. */
let owner = null;
/** @type {Effect[]} */
const queue = [];
let held = 0;

/** Owns what is made while it runs. A row of a list is one, so is a view. */
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

  /** Read without depending on it. */
  peek() {
    return this.current;
  }

  track() {
    if (reader === null) return;
    this.readers.add(reader);
    reader.sources.add(this);
  }

  settle() {}
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
    if (before === CLEAN) this.marked();
  }

  marked() {}

  isDirty() {
    return this.state === DIRTY;
  }

  isStale() {
    if (this.state === CHECK) {
      for (const source of this.sources) {
        source.settle();
        if (this.isDirty()) break;
      }
      if (this.state === CHECK) this.state = CLEAN;
    }
    return this.isDirty();
  }

  run() {
    this.forget();
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

  forget() {
    this.clear();
    for (const source of this.sources) source.readers.delete(this);
    this.sources.clear();
  }

  /** @override */
  dispose() {
    this.isDisposed = true;
    this.forget();
    super.dispose();
  }
}

class Effect extends Computation {
  /** @override */
  marked() {
    queue.push(this);
  }

  /** One that fails is reported and does not hold up the others. */
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
    this.computation.marked = () => {
      for (const one of this.readers) one.mark(CHECK);
    };
  }

  /** @override */
  get value() {
    this.settle();
    this.track();
    return this.current;
  }

  /** @override */
  peek() {
    this.settle();
    return this.current;
  }

  /** @override */
  settle() {
    if (!this.computation.isStale()) return;
    const next = this.computation.run();
    if (Object.is(next, this.current)) return;
    this.current = next;
    for (const one of this.readers) one.state = DIRTY;
  }
}

function flush() {
  if (held > 0) return;
  held += 1;
  try {
    for (let one = queue.shift(); one; one = queue.shift()) one.update();
  } finally {
    held -= 1;
  }
}

/** @template T @param {T} value @returns {Source<T>} */
export const signal = (value) => new Source(value);

/** @template T @param {() => T} body @returns {Computed<T>} A value that is computed when it is asked for. */
export const computed = (body) => new Computed(body);

/** Run now, and again whenever something changes that it has read. @param {() => any} body @returns {() => void} */
export function effect(body) {
  const made = new Effect(body);
  made.update();
  return () => made.dispose();
}

/** Change many things; readers see them at once. @template T @param {() => T} body @returns {T} */
export function batch(body) {
  held += 1;
  try {
    return body();
  } finally {
    held -= 1;
    flush();
  }
}

/** Read without depending on it. @template T @param {() => T} body @returns {T} */
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
 * Run once, depending on nothing, as the owner of what it makes. Nobody owns it: who calls this must dispose of it.
 * @template T @param {() => T} body @returns {[T, () => void]} what it returned, and how to dispose of it
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

/** Call it when what is being made goes away. @param {() => void} dispose */
export const onDispose = (dispose) => void owner?.owned.add({ dispose });
