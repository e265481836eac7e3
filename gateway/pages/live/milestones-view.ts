export interface Milestone {
  /** Every how many scans. */
  readonly every: number
  readonly prize: string
}

const format = new Intl.NumberFormat('en-US')

/** How far it is to the next prize of each kind. */
export class MilestonesView {
  #rows: { milestone: Milestone; left: HTMLElement; bar: HTMLProgressElement; row: HTMLElement }[] = []

  constructor(readonly list: HTMLElement) {}

  begin(milestones: readonly Milestone[]): void {
    this.#rows = milestones.map((milestone) => {
      const prize = document.createElement('strong')
      prize.textContent = `Next ${milestone.prize}`
      const left = document.createElement('span')
      const bar = document.createElement('progress')
      bar.max = milestone.every
      bar.setAttribute('aria-label', `Scans since the last ${milestone.prize}`)
      const row = document.createElement('li')
      row.className = 'milestone'
      row.append(prize, bar, left)
      return { milestone, left, bar, row }
    })
    this.list.replaceChildren(...this.#rows.map(({ row }) => row))
  }

  show(scans: number): void {
    for (const { milestone, left, bar } of this.#rows) {
      const done = scans % milestone.every
      bar.value = done
      left.textContent = `${format.format(milestone.every - done)} to go`
    }
  }
}
