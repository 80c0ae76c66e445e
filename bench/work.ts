/** The work: one usual chat call of 1.1 KB, the same bytes through every target. */

const SYSTEM =
  'You are the assistant of a small harbour office. Answer in two or three sentences, in plain ' +
  'English, and say when you are not sure. Never invent a berth number or a tide time. If someone ' +
  'asks for a form, name it and say which counter hands it out; opening hours are ' +
  'eight to four. Prices are in the table of the season; the council may change them at any time.'
const QUESTION =
  'Good morning. Our boat is 11.4 metres long and draws 1.9 metres, and we would like to stay for ' +
  'three nights from Thursday. Is there a berth with electricity on the inner pier, what does it ' +
  'cost with two people on board, and do we have to be in before the evening low water? We have a ' +
  'dog, which is vaccinated, and would like to know where it may be walked and ' +
  'whether there is a shop nearby that opens early.'
const REPLY = 'Welcome. I can look that up; which form of payment would you like to use?'

const messages = [
  { role: 'system', content: SYSTEM },
  { role: 'user', content: 'Hello, I have a question about a berth for the weekend.' },
  { role: 'assistant', content: REPLY },
  { role: 'user', content: QUESTION },
]
const common = { model: 'gpt-4o-mini', messages, temperature: 0.2, max_completion_tokens: 256 }

export const CALL_BODY = JSON.stringify(common)
/** Does not ask for usage, so Governor has to, and has to take the extra chunk out again. */
export const STREAM_BODY = JSON.stringify({ ...common, stream: true })
export const PATH = '/v1/chat/completions'

export function callHeaders(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}`, 'content-type': 'application/json' }
}
