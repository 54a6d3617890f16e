/** "Did you mean": the known name nearest to one that is not known. @module */

/** The nearest of `known`, if it is near enough to be what was meant (a third of its letters). */
export function nearestName(unknown: string, known: readonly string[]): string | undefined {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(unknown.toLowerCase(), name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, name.length / 3))
    .sort((left, right) => left.distance - right.distance)
  return nearest?.name
}

/** Levenshtein's distance, where two letters that changed places count once; one row at a time. */
function editDistance(from: string, to: string): number {
  const [source, target] = [Array.from(from), Array.from(to)]
  let before: readonly number[] = []
  let row = Array.from({ length: target.length + 1 }, (_, index) => index)
  for (const [index, letter] of source.entries()) {
    const next = [index + 1]
    for (const [column, other] of target.entries()) {
      const change = (row[column] ?? 0) + (letter === other ? 0 : 1)
      const swapped = source[index - 1] === other && target[column - 1] === letter
      const swap = swapped ? (before[column - 1] ?? 0) + 1 : change
      next.push(Math.min(change, swap, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1))
    }
    before = row
    row = next
  }
  return row.at(-1) ?? 0
}
