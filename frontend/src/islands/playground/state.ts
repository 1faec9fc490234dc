// What the Playground knows: what was asked, what came back, what has been computed of it.

export interface Offered {
  slug: string;
  name: string;
  dimensions: number;
  price: number; // USD a token
  has_tokenizer: boolean;
}

export interface Example {
  key: string;
  title: string;
  query: string;
  texts: string[];
}

export interface Told {
  signed_in: boolean;
  address: string;
  models: Offered[];
  examples: Example[];
}

/** Vectors of some texts, as they came: rows of `dimensions` numbers. */
export interface Vectors {
  dimensions: number;
  rows: Float32Array;
}

export interface Result extends Vectors {
  model: Offered;
  texts: string[];
  unit: Float32Array; // the rows at length 1
  tokens: number;
  cost: number; // USD
  ms: number; // from the first request to the last answer
  requests: number;
  queries: { tokens: number; cost: number; requests: number }; // of these texts
  id: string; // the last generation's
  provider: string;
}

export interface Clusters {
  chosen: number; // what was asked for; 0: the best
  k: number;
  of: Int32Array; // cluster of each text, the largest is 0
  central: number[]; // text nearest to each centre
  tightness: number[]; // mean cosine to the centre
  silhouette: number; // -1 to 1, of a sample
}

export interface Pair {
  a: number;
  b: number;
  score: number;
}

export interface Matrix {
  scores: Float32Array; // n x n
  pairs: Pair[]; // the nearest first
}

export type Projection = "pca" | "umap";

/** One result with all that was made of it, and what the reader chose. */
export class State {
  result: Result | null = null;
  query = "";
  rankOf: { query: string; scores: Float32Array; ms: number } | null = null;
  chosenClusters = 0;
  order: "given" | "cluster" = "given";
  projection: Projection = "pca";
  most = 10; // results of a search
  least = 0; // cosine
  tokensFrom = 0;
  matrix: Matrix | null = null;
  clusters: Clusters | null = null;
  maps: Partial<Record<Projection, Float32Array>> = {};

  /** Begin with another result. */
  take(result: Result): void {
    this.result = result;
    this.rankOf = this.matrix = this.clusters = null;
    this.maps = {};
    this.tokensFrom = 0;
  }
}

/** Rows at length 1: cosine is their product, then. */
export function unitRows(rows: Float32Array, dimensions: number): Float32Array {
  const made = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += dimensions) {
    let sum = 0;
    for (let i = start; i < start + dimensions; i++) sum += rows[i]! * rows[i]!;
    const by = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = start; i < start + dimensions; i++) made[i] = rows[i]! * by;
  }
  return made;
}

/** The product of row a of one and row b of another. */
export function dot(one: Float32Array, a: number, other: Float32Array, b: number, dimensions: number): number {
  let i = a * dimensions;
  let j = b * dimensions;
  const end = i + dimensions;
  let [first, second, third, fourth] = [0, 0, 0, 0]; // four sums go on at once: measured, twice as fast as one
  for (; i + 3 < end; i += 4, j += 4) {
    first += one[i]! * other[j]!;
    second += one[i + 1]! * other[j + 1]!;
    third += one[i + 2]! * other[j + 2]!;
    fourth += one[i + 3]! * other[j + 3]!;
  }
  for (; i < end; i++, j++) first += one[i]! * other[j]!;
  return first + second + third + fourth;
}
