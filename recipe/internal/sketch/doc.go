// Package sketch tries the seam on paper: eleven methods that pull it in different directions, written as types and hooks that compile, without
// results and without registration. Each ends in a comment on where the seam was awkward. reft, prefix-rft, sasr and itool have become recipes since;
// what was awkward in them is mended in the seam, and their sketches show what was asked of it.
//
//	sketch            needs                                      awkward
//	reft              value, frozen start                        value after the last token; returns before whitening
//	prefix-rft        entropy, forced ids                        who fills logp_old of forced tokens; ranking over a minibatch
//	sasr              gradient norm, frozen                      two kinds of step in one node; a random stream of its own
//	itool             sampling from forced ids, pairs            tree search wants many small Sample calls; pairs share a prefix
//	parallel-r1       hide, positions                            one sequence is made of several samples
//	amft              gradient buffers, look-ahead               a held-out loss between Backward and Step
//	ift               mixed embeddings, sequence scope           a look-ahead pass per step; gradient through weights
//	conmax            frozen model as scorer                     the reward scores other sequences than the sampled one
//	deep-research-rl  multi-turn episodes                        several segments; advantages by turn
//	metis-specs       frozen samplers, build node                pairs come from two models; a mixed loss
//	wsrl              no language model                          a Learn node: Step, Eval, Save, Load
package sketch
