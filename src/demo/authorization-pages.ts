/**
 * The few HTML pages of the demo's authorization server.
 *
 * There are no passwords: whoever can open the page chooses who to be. That is right for a server
 * on 127.0.0.1 that lives as long as the demo, and for nothing else.
 *
 * @module
 */

/** A page; `body` is HTML already. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 30rem; margin: 3rem auto; padding: 0 1rem }</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${body}
</body>
</html>
`
}

/** Asks who to be, and for consent, at once. */
export function loginPage(client: string, scope: string): string {
  return page(
    'Log in',
    `<p>${escapeHtml(client)} asks for: <code>${escapeHtml(scope || 'nothing in particular')}</code></p>
<form method="post">
<label>User name <input name="username" autocomplete="off" autofocus required></label>
<button type="submit">Log in and allow</button>
</form>`,
  )
}

/** Asks for the code that the device shows. */
export function codePage(form: string, problem: string | undefined): string {
  const text = problem ?? 'Enter the code that the program shows.'
  return page(
    'Enter the code',
    `<p>${escapeHtml(text)}</p>
${form}
<button type="submit" form="op.deviceInputForm">Continue</button>`,
  )
}

/** Shows the code again, so that nobody approves somebody else's login. */
export function confirmPage(form: string, client: string, code: string): string {
  return page(
    'Is this your code?',
    `<p>${escapeHtml(client)} shows <strong>${escapeHtml(code)}</strong></p>
${form}
<button type="submit" form="op.deviceConfirmForm" autofocus>Yes, continue</button>
<button type="submit" form="op.deviceConfirmForm" name="abort" value="yes">No</button>`,
  )
}

/** What {@link approveDevice} and people look for. */
export const DONE_TITLE = 'You are logged in'

/** The last page of a device login. */
export function donePage(): string {
  return page(DONE_TITLE, '<p>You can close this page and go back to the program.</p>')
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
