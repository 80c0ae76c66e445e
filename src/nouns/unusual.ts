/** What can be unusual about a call, seen from what its caller did before; a closed list. */
export const UNUSUAL = ['new_network', 'new_client', 'high_rate', 'high_spend'] as const
export type Unusual = (typeof UNUSUAL)[number]

/** Of nearly every call. */
export const NOTHING_UNUSUAL: readonly Unusual[] = []
