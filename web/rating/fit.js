/** Finds the number of columns with which images are shown largest. */

/**
 * @param count number of images
 * @param width, height of the box, in pixels
 * @param aspect width / height of an image
 * @param extra pixels below each image
 * @param gap pixels between images
 * @returns columns, 1 to count
 */
export function bestColumns(count, width, height, aspect, extra, gap) {
  let best = 1;
  let largest = -Infinity;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - gap * (columns - 1)) / columns;
    const rowHeight = (height - gap * (rows - 1)) / rows - extra;
    const imageWidth = Math.min(cellWidth, rowHeight * aspect);
    if (imageWidth > largest) [best, largest] = [columns, imageWidth];
  }
  return best;
}
