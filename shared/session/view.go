package session

import "time"

// NoCapacityAfter is how long a wanted session may wait for a connector before
// the API says that there is none with room.
const NoCapacityAfter = 30 * time.Second

// Wanted is the control plane's half of a session: only the API writes it.
type Wanted struct {
	Desired    Desired
	Generation Generation
	// Unlink is the last request that wanted the device unlinked, 0 where none did.
	Unlink Generation
	// Deleted: the user does not want the session any more. It is shown to nobody,
	// and gone as soon as a holder has erased its device.
	Deleted bool
	// At is when the user last asked, on the database's clock.
	At time.Time
}

// Run is the holder's half of a session: claimed, then written only by the
// holder, fenced by Epoch.
type Run struct {
	Holder         ConnectorID // empty: nobody holds it
	LeaseUntil     time.Time   // when the holder's lease passes; zero without a holder
	Epoch          Epoch
	State          Status // what the last holder said; see [View]
	Reason         *Reason
	SeenGeneration Generation // the request that State answers
	JID            string     // the linked device (an AD-JID), empty while unpaired
	Linked         Generation // the request at which the device was linked
	PushName       string     // the account's display name, where known
	At             time.Time  // when State was written
	// HeardAt is a moment at which WhatsApp still gave a sign of life, and of a
	// working session not long before the last one; zero where it never did.
	HeardAt    time.Time
	Reconnects LastHour // connections that were lost, or could not be made
}

// HeldAt reports whether somebody may act for the session at now.
func (r Run) HeldAt(now time.Time) bool { return r.Holder != "" && r.LeaseUntil.After(now) }

// MustUnlink reports whether the user wants the linked device unlinked, and it
// is not yet: the request came later than the one that it was linked at.
func MustUnlink(w Wanted, jid string, linked Generation) bool { return jid != "" && w.Unlink > linked }

// Placed reports whether nobody need claim the session: somebody alive holds it,
// or the user wants nothing of it that takes a holder.
func Placed(w Wanted, r Run, now time.Time) bool {
	wanted := w.Desired == DesiredRunning || w.Deleted || MustUnlink(w, r.JID, r.Linked)
	return !wanted || r.HeldAt(now)
}

// GaveUp reports whether the last request ended in FAILED, so that nobody
// should claim the session until the user asks again.
func GaveUp(w Wanted, r Run) bool {
	return r.State == Failed && r.SeenGeneration >= w.Generation
}

// View folds what the user wants and what the holder reported into what the
// API shows. now must come from the same clock as the rows' times.
func View(w Wanted, r Run, now time.Time) (Status, *Reason) {
	if w.Desired != DesiredRunning {
		return Stopped, nil
	}
	if GaveUp(w, r) {
		return Failed, r.Reason
	}
	held := r.HeldAt(now)
	if held && r.SeenGeneration >= w.Generation && r.State.Active() {
		return r.State, r.Reason
	}
	return Starting, waitingReason(w, r, held, now)
}

// waitingReason explains a session that nobody answers for yet.
func waitingReason(w Wanted, r Run, held bool, now time.Time) *Reason {
	if r.Reason != nil && r.Reason.Code == TempBan && r.Reason.RetryAt != nil && r.Reason.RetryAt.After(now) {
		return r.Reason
	}
	since := w.At
	for _, later := range []time.Time{r.At, r.LeaseUntil} {
		if later.After(since) {
			since = later
		}
	}
	if !held && now.Sub(since) >= NoCapacityAfter {
		return NewReason(NoCapacity, since.Add(NoCapacityAfter), "")
	}
	if r.SeenGeneration >= w.Generation {
		return r.Reason
	}
	return nil
}
