/**
 * Whether RE2 finds the same first group as PostgreSQL.
 *
 * Both agree on what matches. Where one text can be divided among the parts of an expression in more
 * than one way, PostgreSQL gives each part, from the left, the longest (or shortest) piece that lets
 * the rest match, while RE2 takes the first way that a backtracking search would find: of
 * `^(a|ab)(b?)$` and the text `ab`, PostgreSQL's group is `ab` and RE2's `a`. A wrong group is a wrong
 * role, so a map takes `\1` only from expressions for which {@link isFirstGroupExact} holds.
 *
 * @module
 */
import type { AreNode } from './are-node.ts'
import { BYTES, type ByteSet, intersects, union } from './byte-set.ts'

/**
 * True where RE2's first group is PostgreSQL's for every text.
 *
 * `mixed` says that some repetition prefers the shortest match; RE2 is then run leftmost-first
 * instead of leftmost-longest.
 */
export function isFirstGroupExact(root: AreNode, mixed: boolean): boolean {
  if (root.type === 'alternate' && !mixed) {
    // The first branch that matches the whole piece, in both.
    return root.branches.every((branch) => isExactBranch(branch, false))
  }
  return isExactBranch(root, mixed)
}

function isExactBranch(root: AreNode, mixed: boolean): boolean {
  if (!holdsFirstGroup(root)) {
    return true
  }
  const items = root.type === 'concat' ? root.items : [root]
  const at = items.findIndex((item) => item.type === 'group' && item.capture === 1)
  if (at === -1) {
    return false
  }
  const last = items.at(-1)
  // With both preferences in play the whole match may be the shortest one, unless it ends the text.
  if (mixed && !(last?.type === 'assertion' && last.assertion === 'text-end')) {
    return false
  }
  const before = sequence(items.slice(0, at))
  const group = sequence(items.slice(at, at + 1))
  const after = sequence(items.slice(at + 1))
  return isExactBoundary(before, sequence(items.slice(at))) && isExactBoundary(group, after)
}

/** True where RE2 and PostgreSQL divide a text at the same place between two parts. */
function isExactBoundary(left: AreNode, right: AreNode): boolean {
  if (isFixed(left) || isFixed(right)) {
    return true
  }
  // A byte that can only begin the right part, or only end the left one, marks the place.
  if (!intersects(bytesOf(left), edge(right, 'first'))) {
    return true
  }
  if (!intersects(edge(left, 'last'), bytesOf(right))) {
    return true
  }
  return triesInOrder(left)
}

/**
 * True where the lengths that a backtracking search tries only fall (or only rise), so that the first
 * that fits is the longest (or the shortest).
 */
function triesInOrder(node: AreNode): boolean {
  if (isFixed(node)) {
    return true
  }
  switch (node.type) {
    case 'group':
      return triesInOrder(node.child)
    case 'repeat':
      return isFixed(node.child)
    case 'concat': {
      const varying = node.items.filter((item) => !isFixed(item))
      return varying.length === 1 && node.items.every(triesInOrder) && !hasMixedPreference(node)
    }
    default:
      return false
  }
}

function hasMixedPreference(node: AreNode): boolean {
  const found = new Set(preferences(node))
  return found.size > 1
}

function preferences(node: AreNode): ('longest' | 'shortest')[] {
  const own = node.type === 'repeat' && node.prefers !== undefined ? [node.prefers] : []
  return [...own, ...children(node).flatMap(preferences)]
}

/** True where some repetition prefers the shortest match. */
export function prefersShortest(node: AreNode): boolean {
  return preferences(node).includes('shortest')
}

function children(node: AreNode): readonly AreNode[] {
  switch (node.type) {
    case 'concat':
      return node.items
    case 'alternate':
      return node.branches
    case 'group':
    case 'repeat':
      return [node.child]
    default:
      return []
  }
}

function holdsFirstGroup(node: AreNode): boolean {
  return (node.type === 'group' && node.capture === 1) || children(node).some(holdsFirstGroup)
}

function sequence(items: readonly AreNode[]): AreNode {
  return { type: 'concat', items }
}

function isFixed(node: AreNode): boolean {
  const { min, max } = lengths(node)
  return min === max
}

function lengths(node: AreNode): { min: number; max: number } {
  switch (node.type) {
    case 'set':
      return { min: 1, max: 1 }
    case 'concat':
      return node.items
        .map(lengths)
        .reduce((sum, item) => ({ min: sum.min + item.min, max: sum.max + item.max }), {
          min: 0,
          max: 0,
        })
    case 'alternate': {
      const all = node.branches.map(lengths)
      return {
        min: Math.min(...all.map(({ min }) => min)),
        max: Math.max(...all.map(({ max }) => max)),
      }
    }
    case 'group':
      return lengths(node.child)
    case 'repeat': {
      const { min, max } = lengths(node.child)
      return { min: min * node.min, max: max === 0 || node.max === 0 ? 0 : max * node.max }
    }
    default:
      return { min: 0, max: 0 }
  }
}

const NOTHING: ByteSet = new Uint8Array(BYTES)

/** All bytes that can be anywhere in a match. */
function bytesOf(node: AreNode): ByteSet {
  return node.type === 'set' ? node.set : union(NOTHING, ...children(node).map(bytesOf))
}

/** All bytes that can be the first (or last) of a match that is not empty. */
function edge(node: AreNode, side: 'first' | 'last'): ByteSet {
  if (node.type !== 'concat') {
    return node.type === 'set'
      ? node.set
      : union(NOTHING, ...children(node).map((child) => edge(child, side)))
  }
  const found: ByteSet[] = [NOTHING]
  for (const item of side === 'first' ? node.items : node.items.toReversed()) {
    found.push(edge(item, side))
    if (lengths(item).min > 0) {
      break
    }
  }
  return union(...found)
}
