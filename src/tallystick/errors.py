"""Everything that can go wrong, by whose fault it is.

`Invalid`     the input is malformed: nothing was checked against it yet (CLI exit 2).
`Mismatch`    the input is well formed and a check on it failed (CLI exit 1).
`Refused`     the ledger's rules say no; each class has the name and arguments of a Solidity custom error (exit 2).
`Unavailable` something outside could not be reached: a node, a blob, a disk, a network (exit 2).

Every message names the cause and, where there is one, the remedy.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TallystickError(Exception):
    """Root of all errors that Tallystick raises on purpose."""

    exit_code: ClassVar[int] = 2


class Invalid(TallystickError):
    """Malformed input."""


class InvalidTensor(Invalid):
    """A tensor holds NaN, infinity or a value outside the fixed-point range."""


class InvalidLayout(Invalid):
    """Tensor names, shapes or dtypes that cannot be laid out, or differ from the task's."""


class InvalidWeight(Invalid):
    """A member's weight outside 1..maxWeight."""


class InvalidBlob(Invalid):
    """A stored blob whose header or length is wrong."""


class InvalidKey(Invalid):
    """A private key or keystore that cannot be read or decrypted."""


class InvalidParameter(Invalid):
    """A setting, URL or argument that makes no sense."""


class InvalidData(Invalid):
    """A data set that is absent, truncated or not the pinned one."""


class Mismatch(TallystickError):
    """A check that failed on well-formed input."""

    exit_code: ClassVar[int] = 1


class RootMismatch(Mismatch):
    """Bytes that do not hash to the root they are named by."""


class ModelMismatch(Mismatch):
    """A global model that is not the one on the ledger."""


class JournalMismatch(Mismatch):
    """A ledger journal with a changed, missing or reordered row."""


class AuditMismatch(Mismatch):
    """A replay that disagrees with the ledger."""


class Unavailable(TallystickError):
    """Something outside this process could not be reached or used."""


class BlobUnavailable(Unavailable):
    """No blob of that root in the store."""


class LedgerUnavailable(Unavailable):
    """The ledger does not answer."""


class StoreUnavailable(Unavailable):
    """The store cannot be read or written (a full disk, a missing folder)."""


class Refused(TallystickError):
    """The ledger's rules refuse a call. `arguments` are those of the Solidity custom error."""

    remedy: ClassVar[str] = ""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        shown = ", ".join(a.hex() if isinstance(a, bytes) else str(a) for a in arguments)
        said = (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(
            f"{type(self).__name__}({shown}): {said}" + (f" {self.remedy}" if self.remedy else "")
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.arguments == getattr(other, "arguments", None)

    def __hash__(self) -> int:
        return hash((type(self), self.arguments))


class InvalidTask(Refused):
    """A task parameter lies outside its bounds (the argument names it)."""

    remedy = "See the table of parameters in docs/protocol.md."


class TaskExists(Refused):
    """A task with these parameters exists already."""

    remedy = "Change the salt to create another."


class UnknownTask(Refused):
    """No task has this id on this ledger."""

    remedy = "Check the id, the chain and the contract address."


class NotSponsor(Refused):
    """Only the task's sponsor may do this."""


class InvalidMember(Refused):
    """The zero address cannot be a member."""


class AlreadyAdmitted(Refused):
    """This account is a member already."""


class TooManyMembers(Refused):
    """The task's maxMembers would be exceeded."""


class NotMember(Refused):
    """This account is not a member of the task."""

    remedy = "Ask the sponsor to admit it."


class NotBonded(Refused):
    """The account's free balance does not cover the task's bond."""

    remedy = "Deposit at least the bond first."


class InsufficientBalance(Refused):
    """The account's free balance is less than the amount."""


class TransferFailed(Refused):
    """The account did not accept the payment."""


class WrongRound(Refused):
    """Not the round that can be opened next."""


class RoundNotOpen(Refused):
    """The round does not accept this now: it is not open."""


class CommitsClosed(Refused):
    """The commit window of this round has passed."""


class CommitsOpen(Refused):
    """Members may still commit to this round."""

    remedy = "Wait for the commit deadline, or for every member."


class AlreadyCommitted(Refused):
    """This member has committed to this round already."""


class AlreadyBatched(Refused):
    """This round has its batch already."""


class InvalidCommitment(Refused):
    """A commitment needs a root and a weight of 1 to maxWeight; a batch, a root and a count."""


class NotCommitted(Refused):
    """The ledger holds no such commitment of this member in this round."""


class AlreadyExcluded(Refused):
    """This member is excluded from this round already."""


class InvalidReason(Refused):
    """No exclusion reason has this number."""


class InvalidProposal(Refused):
    """A proposal needs two roots, and a count of at least the quorum and at most all members."""


class NotProposed(Refused):
    """The round holds no proposal that could be finalised."""


class WindowOpen(Refused):
    """The challenge window of this round has not passed."""

    remedy = "Wait until the time given."


class ParentNotFinal(Refused):
    """The round that this one builds on is not final."""


class SlotsFull(Refused):
    """All of the task's rounds in flight wait for finality."""

    remedy = "Finalise the oldest round first, or release its bond."


class InvalidProof(Refused):
    """The evidence does not stand under the roots on the ledger (the argument names the part)."""

    remedy = "Build it from the blobs that the roots name."


class NotRefuted(Refused):
    """The evidence stands and shows no fault: the proposal is right there."""


class RoundVoid(Refused):
    """The round builds on a refuted proposal."""

    remedy = "Call void on it, oldest first, to free its bond."


class NotVoid(Refused):
    """The round builds on nothing that was refuted."""


class NoBatch(Refused):
    """The round has no batch that could be adopted."""


class Reorganised(Refused):
    """The block that the proposer saw is not one of this chain's last 256."""

    remedy = "Read the ledger again and propose anew."


class NotSettled(Refused):
    """The proposal lacks the votes, or the proof, that its task asks for."""

    remedy = "Attest it, settle it, or let it lapse."


class AlreadySettled(Refused):
    """The proposal, or this part of it, is settled already."""


class InvalidStake(Refused):
    """A stake is more than nothing, and at most ten million ether."""


class NotStaked(Refused):
    """The account has no stake in this task, or less than its members need."""

    remedy = "Deposit, then stake at least what the task asks for."


class StakeLocked(Refused):
    """The stake answers for an attested round that can still be refuted or was, or for membership (the argument is the round)."""

    remedy = "Wait until the round's window has passed, or the task is complete."


class NotScorer(Refused):
    """Only the task's scorer may do this."""


class InvalidGrades(Refused):
    """Each account needs one quality."""


class NotValidator(Refused):
    """The account had no vote when this round was opened."""

    remedy = "Stake at least what the task asks for; the vote counts from the next round on."


class InvalidAttestation(Refused):
    """The round holds another proposal than the one attested."""


class AlreadyAttested(Refused):
    """This validator has spoken on this already."""


class NotSlashable(Refused):
    """The account attested nothing in this round that was refuted, or has nothing left."""


class NotReported(Refused):
    """The member was not excluded from this round as withheld."""


class RevealOpen(Refused):
    """There is still time to reveal."""

    remedy = "Wait until the time given."


class RevealClosed(Refused):
    """The time to say that data are missing has passed."""


class WindowPassed(Refused):
    """The challenge window of this round has passed."""


class AlreadyDemanded(Refused):
    """This is demanded already."""


class NotDemanded(Refused):
    """No such demand is open."""


class DemandsOpen(Refused):
    """Data of this proposal were demanded, and nobody has revealed them yet."""

    remedy = "Reveal them, or call expire once their time has passed."
