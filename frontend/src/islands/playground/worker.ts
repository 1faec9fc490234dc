// The arithmetic beside the page: matrix, clusters, PCA.
import { clustersOf, matrixOf, pcaOf } from "./maths";
import type { Asked, Scope } from "./compute";

const scope = self as unknown as Scope;

scope.onmessage = ({ data }: MessageEvent<Asked>): void => {
  const tell = (share: number): void => scope.postMessage({ share });
  switch (data.what) {
    case "matrix": {
      const made = matrixOf(data.rows, data.dimensions, tell);
      return scope.postMessage({ made }, [made.scores.buffer]);
    }
    case "clusters":
      return scope.postMessage({ made: clustersOf(data.rows, data.dimensions, data.chosen, tell) });
    default: {
      const made = pcaOf(data.rows, data.dimensions);
      return scope.postMessage({ made }, [made.buffer]);
    }
  }
};
