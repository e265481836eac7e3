/** Plots as SVG that needs nothing else, readable on light and on dark. */
import type { BarPlot, LinePlot, Plot } from './section.js'
import { formatFigure } from './statistics.js'

const WIDTH = 760
const MARGIN = { top: 44, right: 24, bottom: 46, left: 64 }
const BAR_HEIGHT = 30
const BAR_GAP = 14
const NAME_WIDTH = 200
const LINES_HEIGHT = 360
const TICKS = 5

/** Distinguishable without colour too: the names stand at the lines. */
const palette = ['#2f6feb', '#d1541f', '#8250df', '#1a7f37', '#9a6700', '#57606a']

const style = `<style>
.bench text{font:13px system-ui,sans-serif;fill:#1f2328}
.bench .title{font-weight:600;font-size:15px}
.bench .quiet{fill:#59636e}
.bench .axis{stroke:#59636e;fill:none}
.bench .grid{stroke:#59636e;stroke-opacity:.25}
.bench .whisker{stroke:#1f2328;stroke-width:1.5}
@media (prefers-color-scheme: dark){
.bench text{fill:#e6edf3}.bench .quiet{fill:#9198a1}.bench .axis{stroke:#9198a1}
.bench .grid{stroke:#9198a1}.bench .whisker{stroke:#e6edf3}}
</style>`

/** A whole SVG document. */
export function svgOf(plot: Plot): string {
  return plot.kind === 'bars' ? barsOf(plot) : linesOf(plot)
}

function document(title: string, height: number, content: string): string {
  return (
    `<svg class="bench" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(title)}">` +
    `${style}<text class="title" x="8" y="22">${escaped(title)}</text>${content}</svg>\n`
  )
}

export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

const colour = (index: number) => palette[index % palette.length] ?? '#57606a'

function barsOf({ title, unit, bars }: BarPlot): string {
  const height = MARGIN.top + bars.length * (BAR_HEIGHT + BAR_GAP)
  const largest = Math.max(...bars.map(({ max }) => max), Number.MIN_VALUE)
  // Room for the figure behind the longest bar.
  const scale = (value: number) => (value / largest) * (WIDTH - NAME_WIDTH - 140)
  const content = bars.map(({ name, value, min, max }, index) => {
    const top = MARGIN.top + index * (BAR_HEIGHT + BAR_GAP)
    const middle = top + BAR_HEIGHT / 2
    const [from, to] = [NAME_WIDTH + scale(min), NAME_WIDTH + scale(max)]
    return (
      `<text x="${NAME_WIDTH - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>` +
      `<rect x="${NAME_WIDTH}" y="${top}" width="${round(scale(value))}" height="${BAR_HEIGHT}" rx="3" fill="${colour(index)}"/>` +
      `<path class="whisker" d="M${round(from)} ${middle}H${round(to)}M${round(from)} ${middle - 5}v10M${round(to)} ${middle - 5}v10"/>` +
      `<text x="${round(to + 8)}" y="${middle + 4}">${formatFigure(value)} ${escaped(unit)}</text>`
    )
  })
  return document(title, height, content.join(''))
}

interface Axis {
  readonly at: (value: number) => number
  readonly ticks: readonly number[]
}

function axisOf(values: readonly number[], isLogarithmic: boolean, from: number, to: number): Axis {
  const known = values.filter((value) => Number.isFinite(value) && (!isLogarithmic || value > 0))
  if (isLogarithmic) {
    const low = Math.floor(Math.log10(Math.min(...known, 1)))
    const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known, 1))))
    const ticks = Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step))
    return { at: (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from), ticks }
  }
  const step = niceStep(Math.max(...known, Number.MIN_VALUE) / TICKS)
  const top = Math.ceil(Math.max(...known, Number.MIN_VALUE) / step) * step
  const ticks = Array.from({ length: Math.round(top / step) + 1 }, (_, tick) => tick * step)
  return { at: (value) => from + (value / top) * (to - from), ticks }
}

/** The next of 1, 2, 5, 10, 20, … */
export function niceStep(atLeast: number): number {
  const power = 10 ** Math.floor(Math.log10(atLeast))
  return ([1, 2, 5].find((factor) => factor * power >= atLeast) ?? 10) * power
}

function linesOf({ title, xTitle, yTitle, isLogarithmic, lines }: LinePlot): string {
  const points = lines.flatMap((line) => line.points)
  const bottom = LINES_HEIGHT - MARGIN.bottom
  const right = WIDTH - MARGIN.right - 150
  const x = axisOf(
    points.map(([value]) => value),
    isLogarithmic,
    MARGIN.left,
    right,
  )
  const y = axisOf(
    points.map(([, value]) => value),
    isLogarithmic,
    bottom,
    MARGIN.top,
  )
  const grid = [
    ...y.ticks.map(
      (tick) =>
        `<path class="grid" d="M${MARGIN.left} ${round(y.at(tick))}H${right}"/>` +
        `<text class="quiet" x="${MARGIN.left - 6}" y="${round(y.at(tick) + 4)}" text-anchor="end">${shortly(tick)}</text>`,
    ),
    ...x.ticks.map(
      (tick) =>
        `<text class="quiet" x="${round(x.at(tick))}" y="${bottom + 18}" text-anchor="middle">${shortly(tick)}</text>`,
    ),
  ]
  const drawn = lines.map((line, index) => {
    const places = line.points
      .filter(([px, py]) => Number.isFinite(py) && (!isLogarithmic || (px > 0 && py > 0)))
      .map(([px, py]) => [round(x.at(px)), round(y.at(py))] as const)
    const dots =
      places.length > 40
        ? []
        : places.map(([cx, cy]) => `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour(index)}"/>`)
    const [endX, endY] = places.at(-1) ?? [right, bottom]
    return (
      `<polyline points="${places.join(' ')}" fill="none" stroke="${colour(index)}" stroke-width="2"/>${dots.join('')}` +
      `<text x="${endX + 8}" y="${endY + 4}" style="fill:${colour(index)}">${escaped(line.name)}</text>`
    )
  })
  const axes =
    `<path class="axis" d="M${MARGIN.left} ${MARGIN.top}V${bottom}H${right}"/>` +
    `<text class="quiet" x="${(MARGIN.left + right) / 2}" y="${LINES_HEIGHT - 8}" text-anchor="middle">${escaped(xTitle)}</text>` +
    `<text class="quiet" x="8" y="${MARGIN.top - 8}">${escaped(yTitle)}</text>`
  return document(title, LINES_HEIGHT, grid.join('') + axes + drawn.join(''))
}

const round = (value: number) => Math.round(value * 10) / 10

/** `0.1`, `10k`, `2M` */
function shortly(value: number): string {
  if (value >= 1e6) return `${value / 1e6}M`
  if (value >= 1e4) return `${value / 1e3}k`
  return String(Number(value.toPrecision(3)))
}
