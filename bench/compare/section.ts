/**
 * What a part of the benchmark hands in: words, tables, plots and figures. Terminal, Markdown and the HTML page are made from
 * these alone, so that a new part is one entry in parts.ts and a file that returns a section.
 */
import type { GoalName, Target } from './targets.js'

export interface Table {
  readonly caption: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** The middle of several runs with the least and the most. */
export interface Bar {
  readonly name: string
  readonly value: number
  readonly min: number
  readonly max: number
}

export interface Line {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

interface PlotBase {
  /** Of the file, without its extension. */
  readonly file: string
  readonly title: string
}

export interface BarPlot extends PlotBase {
  readonly kind: 'bars'
  readonly unit: string
  readonly bars: readonly Bar[]
}

export interface LinePlot extends PlotBase {
  readonly kind: 'lines'
  readonly xTitle: string
  readonly yTitle: string
  readonly isLogarithmic: boolean
  readonly lines: readonly Line[]
}

export type Plot = BarPlot | LinePlot

export interface Section {
  readonly title: string
  readonly paragraphs: readonly string[]
  readonly tables: readonly Table[]
  readonly plots: readonly Plot[]
  readonly notMeasured: readonly string[]
  /** What it found of the goals in targets.ts. */
  readonly goals: Readonly<Partial<Record<GoalName, number>>>
  /** What to know of these. */
  readonly goalNotes: Readonly<Partial<Record<GoalName, string>>>
  /** Targets of its own. */
  readonly targets: readonly Target[]
  /** All figures, for latest.json. */
  readonly figures: unknown
}
