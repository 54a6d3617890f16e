/**
 * The few pages that a person sees in the browser after a login. No script, no style, nothing from
 * elsewhere.
 *
 * @module
 */

/** The login is done. */
export function successPage(): string {
  return page('Logged in', 'You can close this page and go back to the program.')
}

/** It is not; the reason is escaped here. */
export function failurePage(reason: string): string {
  return page('Not logged in', reason)
}

/** Some other path. */
export function notFoundPage(): string {
  return page('Not found', 'There is nothing here.')
}

function page(title: string, text: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title></head><body><h1>${title}</h1><p>${escaped(text)}</p></body></html>\n`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
