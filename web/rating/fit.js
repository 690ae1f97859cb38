/** How many columns show images largest. */

/**
 * @param count how many images
 * @param width, height of the box, in pixels
 * @param aspect width / height of an image
 * @param extra height below each image, in pixels
 * @param gap between images, in pixels
 * @returns columns, 1 to count
 */
export function columns(count, width, height, aspect, extra, gap) {
  let best = 1;
  let widest = -Infinity;
  for (let across = 1; across <= count; across += 1) {
    const down = Math.ceil(count / across);
    const cell = (width - gap * (across - 1)) / across;
    const row = (height - gap * (down - 1)) / down - extra;
    const shown = Math.min(cell, row * aspect);
    if (shown > widest) [best, widest] = [across, shown];
  }
  return best;
}
