// How the connection stands, for whoever shows something that depends on it.
import { signal } from '../core/signals.js';

/** @type {ReturnType<typeof signal<'connecting' | 'live' | 'lost' | 'refused'>>} */
export const link = signal('connecting');

/** @type {ReturnType<typeof signal<import('../types.d.ts').Role>>} */
export const role = signal('viewer');

export const actor = signal('');

/** The version that the server says it is; another one than the page's means that the page is old. */
export const serverVersion = signal('');

const RANK = { viewer: 0, operator: 1, admin: 2 };

/** @param {import('../types.d.ts').Role} needed */
export const may = (needed) => RANK[role.value] >= RANK[needed];
