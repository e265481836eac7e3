/** Elements with text in them; nothing here makes markup of what somebody wrote. */
export function element<Type extends HTMLElement = HTMLElement>(id: string, type?: new () => Type): Type {
  const found = document.getElementById(id)
  if (found === null || (type !== undefined && !(found instanceof type))) throw new Error(`the page has no #${id}`)
  return found as Type
}

interface Attributes {
  readonly class?: string
  readonly text?: string
  readonly title?: string
  readonly label?: string
  readonly onclick?: () => void
}

export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  { class: className, text, title, label, onclick }: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  if (className !== undefined) made.className = className
  if (text !== undefined) made.textContent = text
  if (title !== undefined) made.title = title
  if (label !== undefined) made.setAttribute('aria-label', label)
  if (onclick !== undefined) made.addEventListener('click', onclick)
  made.append(...children)
  return made
}

export function button(attributes: Attributes, ...children: readonly (Node | string)[]): HTMLButtonElement {
  const made = make('button', attributes, ...children)
  made.type = 'button'
  return made
}

const SVG = 'http://www.w3.org/2000/svg'

/** A drawing of one path in a field of 24 by 24. */
export function drawing(path: string, className: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', '0 0 24 24')
  svg.setAttribute('class', className)
  svg.setAttribute('aria-hidden', 'true')
  const shape = document.createElementNS(SVG, 'path')
  shape.setAttribute('d', path)
  svg.append(shape)
  return svg
}

export function show(what: HTMLElement, isShown: boolean): void {
  what.hidden = !isShown
}
