// The visible texts whose contrast is below that of WCAG AA (1.4.3), each as one line.
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
  const known = new Map()
  const rgba = color => {  // of any notation
    if (!known.has(color)) {
      canvas.clearRect(0, 0, 1, 1)
      canvas.fillStyle = color
      canvas.fillRect(0, 0, 1, 1)
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data
      known.set(color, [r, g, b, a / 255])
    }
    return known.get(color)
  }
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1]
  const fade = ([r, g, b, a], opacity) => [r, g, b, a * opacity]
  const luminance = color => {
    const [r, g, b] = color.map(each => each / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b)
    return (light + 0.05) / (dark + 0.05)
  }
  // The colours behind an element's text, and of it: an ancestor's opacity fades all that is in it.
  const colors = (element, ink) => {
    const line = []
    for (let each = element; each; each = each.parentElement) line.unshift(each)
    let ground = [255, 255, 255, 1], opacity = 1
    for (const each of line) {
      const style = getComputedStyle(each)
      opacity *= Number(style.opacity)
      ground = over(fade(rgba(style.backgroundColor), opacity), ground)
    }
    return [over(fade(rgba(ink), opacity), ground), ground]
  }
  const isShown = element => {
    const { width, height } = element.getBoundingClientRect()
    return width > 1 && height > 1 && element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
  }
  const isDisabled = element => element.closest(":disabled, [aria-disabled=true], [data-disabled=true], label:has(:disabled)")
  const tell = (element, text, ink) => {
    const style = getComputedStyle(element)
    const size = parseFloat(style.fontSize)
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5
    const [front, ground] = colors(element, ink)
    const found = ratio(front, ground)
    const name = each => `rgb(${each.slice(0, 3).map(Math.round)})`
    return found < least ? [`${found.toFixed(2)} of ${least}: "${text.trim().slice(0, 40)}" ${name(front)} on ${name(ground)}`] : []
  }
  const texts = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement
    if (!node.data.trim() || !isShown(element) || isDisabled(element)) continue
    const style = getComputedStyle(element)
    texts.push(...tell(element, node.data, element instanceof SVGElement ? style.fill : style.color))
  }
  for (const field of document.querySelectorAll("input, textarea")) {
    if (!isShown(field) || isDisabled(field)) continue
    if (field.value) texts.push(...tell(field, field.value, getComputedStyle(field).color))
    else if (field.placeholder) texts.push(...tell(field, field.placeholder, getComputedStyle(field, "::placeholder").color))
  }
  return [...new Set(texts)]
}
