// The state of the connection and of the session.
import { signal } from '../core/signals.js';

/** @type {ReturnType<typeof signal<'connecting' | 'live' | 'lost' | 'refused'>>} */
export const link = signal('connecting');

/** @type {ReturnType<typeof signal<import('../types.d.ts').Role>>} */
export const role = signal('viewer');

export const actor = signal('');

/** The server's version; if it differs from the page's, the page is outdated. */
export const serverVersion = signal('');

const RANK = { viewer: 0, operator: 1, admin: 2 };

/** @param {import('../types.d.ts').Role} needed */
export const may = (needed) => RANK[role.value] >= RANK[needed];
