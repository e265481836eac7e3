/** Which curve figures follow: constant, logarithmic or linear in what grows, by least squares of the relative error. */

export type Shape = 'constant' | 'logarithmic' | 'linear'

export type Point = readonly [size: number, figure: number]

export interface Curve {
  readonly shape: Shape
  /** `figure = base + slope * x`, where x is the size, its logarithm to base 10, or nothing. */
  readonly base: number
  readonly slope: number
  /** Root of the mean square of the relative errors. */
  readonly error: number
}

/** A steeper curve has to be so much nearer to the points before it is believed. */
const CONVINCING = 0.5
const POINTS_MIN = 3
/** So near to the points that nothing steeper need be looked for. */
const NEAR = 0.1

const xOf: Readonly<Record<Shape, (size: number) => number>> = {
  constant: () => 0,
  logarithmic: Math.log10,
  linear: (size) => size,
}

/**
 * The simplest curve that is near the points; nothing here becomes cheaper as it grows, so what falls is noise around a
 * constant. With three points this is an indication, no proof; with fewer no curve is looked for.
 */
export function curveOf(measured: readonly Point[]): Curve {
  // A figure that could not be measured at a size is none, and says nothing.
  const points = measured.filter(([, figure]) => figure > 0)
  const constant = fit('constant', points)
  if (constant.error <= NEAR || points.length < POINTS_MIN) return constant
  const rising = [fit('logarithmic', points), fit('linear', points)]
    .filter(({ slope }) => slope > 0)
    .toSorted((a, b) => a.error - b.error)
  const [best = constant] = rising
  return best.error <= constant.error * CONVINCING ? best : constant
}

/** Weighted by the inverse square of the figure, so that small sizes count as much as large ones. */
function fit(shape: Shape, points: readonly Point[]): Curve {
  const weighted = points.map(([size, figure]) => ({ x: xOf[shape](size), y: figure, weight: 1 / figure ** 2 }))
  const sum = (of: (point: { x: number; y: number }) => number) =>
    weighted.reduce((total, point) => total + point.weight * of(point), 0)
  const weight = sum(() => 1)
  const spread = sum(({ x }) => x * x) - sum(({ x }) => x) ** 2 / weight
  const slope = spread > 0 ? (sum(({ x, y }) => x * y) - (sum(({ x }) => x) * sum(({ y }) => y)) / weight) / spread : 0
  const base = (sum(({ y }) => y) - slope * sum(({ x }) => x)) / weight
  const squares = weighted.map(({ x, y }) => ((base + slope * x - y) / y) ** 2)
  return { shape, base, slope, error: Math.sqrt(squares.reduce((total, square) => total + square, 0) / points.length) }
}
