// The arithmetic, for the worker. All rows have length 1.
import { dot, type Clusters, type Matrix, type Pair } from "./state";

const PAIRS = 50;
const SAMPLE = 400; // texts that a silhouette looks at
const MOST_CLUSTERS = 12; // that are tried
const ROUNDS = 30;
const STARTS = 3; // of which the tightest counts

export type Tell = (share: number) => void;

/** Random numbers from 0 to 1, the same each time. */
export function seeded(seed = 1): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The cosine of all pairs, and the nearest ones. */
export function matrixOf(rows: Float32Array, d: number, tell: Tell): Matrix {
  const n = rows.length / d;
  const scores = new Float32Array(n * n);
  const pairs: Pair[] = [];
  let least = -2;
  for (let a = 0; a < n; a++) {
    scores[a * n + a] = 1;
    for (let b = a + 1; b < n; b++) {
      const score = dot(rows, a, rows, b, d);
      scores[a * n + b] = scores[b * n + a] = score;
      if (score <= least && pairs.length >= PAIRS) continue;
      pairs.push({ a, b, score });
      if (pairs.length < 8 * PAIRS) continue;
      least = cut(pairs);
    }
    if (a % 64 === 0) tell((a * (2 * n - a)) / (n * n));
  }
  cut(pairs);
  return { scores, pairs };
}

function cut(pairs: Pair[]): number {
  pairs.sort((one, other) => other.score - one.score);
  pairs.length = Math.min(pairs.length, PAIRS);
  return pairs.at(-1)?.score ?? -2;
}

/** Spherical k-means; chosen: how many clusters, 0 for the best by silhouette. */
export function clustersOf(rows: Float32Array, d: number, chosen: number, tell: Tell): Clusters {
  const n = rows.length / d;
  const sample = pick(n, Math.min(n, SAMPLE), seeded(7));
  const part = new Float32Array(sample.length * d); // how many there are is seen on a sample; all are then put in order
  for (const [at, a] of sample.entries()) part.set(rows.subarray(a * d, (a + 1) * d), at * d);
  const tried = chosen ? [Math.min(chosen, n)] : range(2, Math.max(2, Math.min(MOST_CLUSTERS, Math.floor(Math.sqrt(n)))));
  const distances = distancesOf(part, d);
  let best = { k: tried[0]!, silhouette: -2 };
  for (const [at, k] of tried.entries()) {
    const silhouette = silhouetteOf(distances, means(part, d, Math.min(k, sample.length), seeded(k)).of, k);
    if (silhouette > best.silhouette) best = { k, silhouette };
    tell((at + 1) / (tried.length + 1));
  }
  const made = means(rows, d, best.k, seeded(best.k));
  const silhouette = silhouetteOf(distances, Int32Array.from(sample, (a) => made.of[a]!), best.k);
  return described(rows, d, chosen, { ...made, silhouette });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(1, to - from + 1) }, (_, at) => from + at);
}

function pick(n: number, count: number, random: () => number): number[] {
  const all = range(0, n - 1);
  for (let at = 0; at < count; at++) {
    const other = at + Math.floor(random() * (n - at));
    [all[at], all[other]] = [all[other]!, all[at]!];
  }
  return all.slice(0, count);
}

interface Means {
  of: Int32Array;
  centres: Float32Array;
  k: number;
  near: number; // sum of the cosines to the centres
}

function means(rows: Float32Array, d: number, k: number, random: () => number): Means {
  const made = Array.from({ length: STARTS }, () => meansFrom(rows, d, k, random));
  return made.reduce((best, one) => (one.near > best.near ? one : best));
}

function meansFrom(rows: Float32Array, d: number, k: number, random: () => number): Means {
  const n = rows.length / d;
  const centres = spread(rows, d, k, random);
  const of = new Int32Array(n).fill(-1);
  for (let round = 0; round < ROUNDS; round++) {
    let moved = 0;
    for (let a = 0; a < n; a++) {
      const near = nearest(rows, a, centres, k, d);
      if (near !== of[a]) moved++;
      of[a] = near;
    }
    if (!moved) break;
    centres.fill(0);
    for (let a = 0; a < n; a++) for (let i = 0, c = of[a]! * d; i < d; i++) centres[c + i]! += rows[a * d + i]!;
    normalise(centres, d);
  }
  let near = 0;
  for (let a = 0; a < n; a++) near += dot(rows, a, centres, of[a]!, d);
  return { of, centres, k, near };
}

/** First centres far from each other, as k-means++ has them. */
function spread(rows: Float32Array, d: number, k: number, random: () => number): Float32Array {
  const n = rows.length / d;
  const centres = new Float32Array(k * d);
  const far = new Float64Array(n).fill(2);
  let chosen = Math.floor(random() * n);
  for (let c = 0; c < k; c++) {
    centres.set(rows.subarray(chosen * d, (chosen + 1) * d), c * d);
    let sum = 0;
    for (let a = 0; a < n; a++) {
      far[a] = Math.min(far[a]!, Math.max(0, 1 - dot(rows, a, centres, c, d)));
      sum += far[a]! * far[a]!;
    }
    let at = random() * sum;
    chosen = 0;
    while (chosen < n - 1 && (at -= far[chosen]! * far[chosen]!) > 0) chosen++;
  }
  return centres;
}

function nearest(rows: Float32Array, a: number, centres: Float32Array, k: number, d: number): number {
  let best = 0;
  let most = -2;
  for (let c = 0; c < k; c++) {
    const score = dot(rows, a, centres, c, d);
    if (score > most) (most = score), (best = c);
  }
  return best;
}

function normalise(rows: Float32Array, d: number): void {
  for (let start = 0; start < rows.length; start += d) {
    let sum = 0;
    for (let i = start; i < start + d; i++) sum += rows[i]! * rows[i]!;
    if (sum > 0) for (let i = start, by = 1 / Math.sqrt(sum); i < start + d; i++) rows[i]! *= by;
  }
}

function distancesOf(rows: Float32Array, d: number): Float32Array {
  const n = rows.length / d;
  const made = new Float32Array(n * n);
  for (let a = 0; a < n; a++) {
    for (let b = a + 1; b < n; b++) made[a * n + b] = made[b * n + a] = 1 - dot(rows, a, rows, b, d);
  }
  return made;
}

/** Mean of (b - a) / max(a, b). distances: n x n. */
function silhouetteOf(distances: Float32Array, of: Int32Array, k: number): number {
  const n = of.length;
  let total = 0;
  for (let a = 0; a < n; a++) {
    const sums = new Float64Array(k);
    const counts = new Int32Array(k);
    for (let b = 0; b < n; b++) {
      if (a === b) continue;
      sums[of[b]!]! += distances[a * n + b]!;
      counts[of[b]!]!++;
    }
    const own = of[a]!;
    if (!counts[own]) continue; // alone: 0
    const inside = sums[own]! / counts[own]!;
    let outside = Infinity;
    for (let c = 0; c < k; c++) if (c !== own && counts[c]) outside = Math.min(outside, sums[c]! / counts[c]!);
    if (outside < Infinity) total += (outside - inside) / (Math.max(inside, outside) || 1);
  }
  return total / n;
}

function described(
  rows: Float32Array,
  d: number,
  chosen: number,
  found: { of: Int32Array; centres: Float32Array; k: number; silhouette: number },
): Clusters {
  const n = rows.length / d;
  const members: number[][] = Array.from({ length: found.k }, () => []);
  for (let a = 0; a < n; a++) members[found.of[a]!]!.push(a);
  const order = range(0, found.k - 1).filter((c) => members[c]!.length);
  order.sort((one, other) => members[other]!.length - members[one]!.length || members[one]![0]! - members[other]![0]!);
  const of = new Int32Array(n);
  const central: number[] = [];
  const tightness: number[] = [];
  for (const [at, c] of order.entries()) {
    let best = -1;
    let most = -2;
    let sum = 0;
    for (const a of members[c]!) {
      of[a] = at;
      const score = dot(rows, a, found.centres, c, d);
      sum += score;
      if (score > most) (most = score), (best = a);
    }
    central.push(best);
    tightness.push(sum / members[c]!.length);
  }
  return { chosen, k: order.length, of, central, tightness, silhouette: found.silhouette };
}

/** The two directions of most variance, by power iteration: n x 2. */
export function pcaOf(rows: Float32Array, d: number): Float32Array {
  const n = rows.length / d;
  const mean = new Float64Array(d);
  for (let at = 0; at < rows.length; at++) mean[at % d]! += rows[at]! / n;
  const centred = new Float32Array(rows.length);
  for (let at = 0; at < rows.length; at++) centred[at] = rows[at]! - mean[at % d]!;
  const made = new Float32Array(n * 2);
  for (let axis = 0; axis < 2; axis++) {
    const direction = leading(centred, n, d);
    for (let a = 0; a < n; a++) {
      const along = dot(centred, a, direction, 0, d);
      made[a * 2 + axis] = along;
      for (let i = 0; i < d; i++) centred[a * d + i]! -= along * direction[i]!;
    }
  }
  return made;
}

function leading(rows: Float32Array, n: number, d: number): Float32Array {
  const random = seeded(3);
  let direction = Float32Array.from({ length: d }, () => random() - 0.5);
  normalise(direction, d);
  for (let round = 0; round < 100; round++) {
    const next = new Float32Array(d);
    for (let a = 0; a < n; a++) {
      const along = dot(rows, a, direction, 0, d);
      for (let i = 0; i < d; i++) next[i]! += along * rows[a * d + i]!;
    }
    normalise(next, d);
    const same = Math.abs(dot(next, 0, direction, 0, d));
    direction = next;
    if (same > 1 - 1e-9) break;
  }
  return direction;
}

/** The k nearest of each row, itself first: what UMAP begins with. */
export function neighbours(rows: Float32Array, d: number, k: number, tell: Tell): { of: number[][]; far: number[][] } {
  const n = rows.length / d;
  const of: number[][] = [];
  const far: number[][] = [];
  const distances = new Float64Array(n);
  for (let a = 0; a < n; a++) {
    const near: number[] = [];
    for (let b = 0; b < n; b++) {
      const distance = (distances[b] = b === a ? -1 : 1 - dot(rows, a, rows, b, d));
      if (near.length === k && distance >= distances[near[k - 1]!]!) continue;
      let at = near.length;
      while (at > 0 && distances[near[at - 1]!]! > distance) at--;
      near.splice(at, 0, b);
      near.length = Math.min(near.length, k);
    }
    of.push(near);
    far.push(near.map((b) => Math.max(0, distances[b]!)));
    if (a % 64 === 0) tell(a / n);
  }
  return { of, far };
}
