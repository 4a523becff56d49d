// Where the page holds only some of many jobs, those that fire next are read from the server, which orders all of them.
import { get } from './api.js';
import { holdJobs } from './jobs_by_need.js';

const READ_NEXT = 50;

let knownUntil = -Infinity; // all jobs that fire before this moment are held: changes of jobs arrive whole
let knownFor = -1;
let isReadingNext = false;

/** Hold the jobs that fire up to a moment. @param {number} until @param {number} snapshot the number of the last one */
export async function holdNextFires(until, snapshot) {
  if (isReadingNext || (knownFor === snapshot && until <= knownUntil)) return;
  isReadingNext = true;
  try {
    const jobs = await get('/scheduler/jobs', { status: 'active', sort: 'next', first: READ_NEXT });
    const last = jobs[READ_NEXT - 1]?.next_run_time;
    [knownUntil, knownFor] = [last ? Date.parse(last) : Infinity, snapshot];
    holdJobs(jobs);
  } catch {
    knownFor = -1; // read again with the next change
  } finally {
    isReadingNext = false;
  }
}
