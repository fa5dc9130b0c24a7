// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @dev A task parameter lies outside its bounds; the argument names it.
error InvalidTask(string parameter);
/// @dev A task with these parameters exists already.
error TaskExists(bytes32 task);
/// @dev No task has this id.
error UnknownTask(bytes32 task);
/// @dev Only the task's sponsor may do this.
error NotSponsor();
/// @dev The zero address cannot be a member.
error InvalidMember();
/// @dev This account is a member already.
error AlreadyAdmitted(address member);
/// @dev The task's maxMembers would be exceeded.
error TooManyMembers();
/// @dev This account is not a member of the task.
error NotMember(address account);
/// @dev The account's free balance does not cover the task's bond.
error NotBonded(address account);
/// @dev The account's free balance is less than the amount.
error InsufficientBalance(uint256 free, uint256 amount);
/// @dev The account did not accept the payment.
error TransferFailed();
/// @dev Not the round that can be opened next.
error WrongRound(uint32 expected);
/// @dev The round is not open.
error RoundNotOpen(uint32 round);
/// @dev The commit window of this round has passed.
error CommitsClosed(uint40 deadline);
/// @dev Members may still commit to this round.
error CommitsOpen(uint40 deadline);
/// @dev This member has committed to this round already.
error AlreadyCommitted(address member);
/// @dev This round has its batch already.
error AlreadyBatched(uint32 round);
/// @dev A commitment needs a root and a weight of 1 to maxWeight; a batch, a root and a count.
error InvalidCommitment();
/// @dev There is no such commitment of this member in this round.
error NotCommitted(address member);
/// @dev This member is excluded from this round already.
error AlreadyExcluded(address member);
/// @dev No exclusion reason has this number.
error InvalidReason(uint8 reason);
/// @dev A proposal needs two roots, and a count of at least the quorum and at most all members.
error InvalidProposal();
/// @dev The round holds no proposal that could be finalised.
error NotProposed(uint32 round);
/// @dev The challenge window of this round has not passed.
error WindowOpen(uint40 finalAt);
/// @dev The round that this one builds on is not final.
error ParentNotFinal(uint32 parent);
/// @dev All of the task's rounds in flight wait for finality.
error SlotsFull(uint32 oldest);
/// @dev The evidence does not stand under the roots on the ledger; the argument names the part.
error InvalidProof(string part);
/// @dev The evidence stands and shows no fault: the proposal is right there.
error NotRefuted();
/// @dev The round builds on a refuted proposal.
error RoundVoid(uint32 round);
/// @dev The round builds on nothing that was refuted.
error NotVoid();
/// @dev The round has no batch that could be adopted.
error NoBatch();
