// The state of the connection and of the session.
import { past } from '../core/past.js';
import { signal } from '../core/signals.js';

/** @type {ReturnType<typeof signal<'connecting' | 'live' | 'lost' | 'refused' | 'past'>>} */
export const link = signal('connecting');

/** @type {ReturnType<typeof signal<import('../types.d.ts').Role>>} */
export const role = signal('viewer');

export const actor = signal('');

/** The server's version; if it differs from the page's, the page is outdated. */
export const serverVersion = signal('');

const RANK = { viewer: 0, operator: 1, admin: 2 };

/** Whether this role may do something now: nobody acts in the past. @param {import('../types.d.ts').Role} needed */
export const may = (needed) => past.value === '' && RANK[role.value] >= RANK[needed];
