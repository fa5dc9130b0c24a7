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
/// @dev The block that the proposer saw is not one of this chain's last 256.
error Reorganised(uint256 seen);
/// @dev The proposal lacks the votes, or the proof, that its task asks for.
error NotSettled(uint32 round);
/// @dev The proposal, or this part of it, is settled already.
error AlreadySettled(uint32 round);
/// @dev A stake is more than nothing, and at most ten million ether.
error InvalidStake();
/// @dev The account has no stake in this task, or less than its members need.
error NotStaked(address account);
/// @dev The stake answers for an attested round that can still be refuted or was, or for membership.
error StakeLocked(uint32 round);
/// @dev Only the task's scorer may do this.
error NotScorer();
/// @dev Each account needs one quality.
error InvalidGrades();
/// @dev The account had no vote when this round was opened.
error NotValidator(address account);
/// @dev The round holds another proposal than the one attested.
error InvalidAttestation();
/// @dev This validator has spoken on this already.
error AlreadyAttested(address account);
/// @dev The account attested nothing in this round that was refuted, or has nothing left.
error NotSlashable(address account);
/// @dev The member was not excluded from this round as withheld.
error NotReported(address member);
/// @dev There is still time to reveal.
error RevealOpen(uint40 deadline);
/// @dev The time to say that data are missing has passed.
error RevealClosed(uint40 deadline);
/// @dev The challenge window of this round has passed.
error WindowPassed(uint40 finalAt);
/// @dev This is demanded already.
error AlreadyDemanded(bytes32 digest);
/// @dev No such demand is open.
error NotDemanded(bytes32 digest);
/// @dev Data of this proposal were demanded, and nobody has revealed them yet.
error DemandsOpen(uint32 round);
