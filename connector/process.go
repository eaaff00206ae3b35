package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/connector/health"
	"github.com/wafleet/wafleet/connector/lease"
	"github.com/wafleet/wafleet/connector/memory"
	"github.com/wafleet/wafleet/connector/metrics"
	"github.com/wafleet/wafleet/connector/protect"
	"github.com/wafleet/wafleet/connector/report"
	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/connector/supervisor"
	"github.com/wafleet/wafleet/connector/whatsapp"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/store"
)

// bootTimeout bounds what is done before the first claim.
const bootTimeout = 30 * time.Second

// process is one connector process, over all the leases that it may have.
type process struct {
	config   config
	listener net.Listener
	log      *slog.Logger
	pools
	devices  *whatsapp.Devices
	secrets  *secret.Box          // nil: this process cannot decrypt
	hints    *startqueue.Receiver // nil: none but the database's
	pacer    *rate.Limiter
	memory   memory.Reclaimer
	state    health.State
	metrics  *metrics.Metrics
	guardian guardian
	task     string // ARN of the ECS task; set before the first lease, empty outside of ECS

	holding atomic.Pointer[holding]
}

// holding is one lease's worth of a process.
type holding struct {
	me         session.ConnectorID
	supervisor *supervisor.Supervisor
	trust      *lease.Trust
}

func newProcess(c config, listener net.Listener, log *slog.Logger) (*process, error) {
	p := &process{config: c, listener: listener, log: log, pacer: rate.NewLimiter(rate.Limit(c.Connects), c.Connects)}
	var err error
	if p.guardian, err = openGuardian(c.LeaseFD, c.CrashFD); err != nil {
		return nil, err
	}
	owner := whileHolding(p, func(h *holding) session.ConnectorID { return h.me })
	held := whileHolding(p, func(h *holding) error { return h.trust.Err() })
	if p.pools, err = openPools(c, owner, held); err != nil {
		return nil, err
	}
	if err := whatsapp.SetGlobals(c.globals()); err != nil {
		return nil, err
	}
	p.devices, err = whatsapp.New(whatsapp.Config{
		Endpoint: c.endpoint, Version: c.Version, DataDir: c.DataDir, DB: p.shared.DB(), Connected: p.memory.Connected,
	}, p.control, log)
	if err != nil {
		return nil, err
	}
	p.secrets = c.secrets.Box(p.control)
	p.metrics = metrics.New(p.gauges())
	if c.QueueURL != "" {
		queue, err := startqueue.Open(context.Background(), c.QueueURL)
		if err != nil {
			return nil, fmt.Errorf("QUEUE_URL: %w", err)
		}
		p.hints = startqueue.NewReceiver(queue, p.metrics, log)
	}
	return p, nil
}

// leaveTimeout bounds the wait for calls into whatsmeow that ignore the end of
// their socket. They own nothing any more; the end of the process ends them.
const leaveTimeout = time.Second

func (p *process) close() {
	p.memory.Stop()
	quiet := make(chan struct{})
	go func() {
		p.devices.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-time.After(leaveTimeout):
	}
	p.pools.close()
}

// run serves health and holds one lease after the other until intake ends.
func (p *process) run(intake context.Context) error {
	if p.config.endpoint.Overridden() {
		p.log.Warn("NOT CONNECTED TO WHATSAPP: every session dials the endpoint override", "dial", p.config.endpoint.DialAddr)
	}
	serving, stopServing := context.WithCancel(context.WithoutCancel(intake))
	group, ctx := errgroup.WithContext(serving)
	group.Go(func() error {
		return health.Serve(ctx, p.listener, health.Handler(&p.state, p.control, p.metrics.Handler()))
	})
	group.Go(func() error {
		defer stopServing()
		return p.work(ctx, intake)
	})
	if p.config.Agent != "" {
		guard := protect.New(p.config.Agent, p.gauges().Pairing, p.log)
		group.Go(func() error { return guard.Run(intake) })
	}
	context.AfterFunc(intake, func() {
		p.state.SetDraining()
		p.metrics.Draining()
	})
	return group.Wait()
}

// work prepares the device store and holds leases. What fails because the
// database is away is tried again: a fleet may start before its database.
func (p *process) work(ctx, intake context.Context) error {
	retry := backoff.Policy{Base: time.Second, Max: 5 * time.Second}
	prepared := false
	for failures := 0; intake.Err() == nil && ctx.Err() == nil; {
		var err error
		if !prepared {
			err = p.prepare(intake)
			prepared = err == nil
		}
		if prepared {
			err = p.hold(ctx, intake)
		}
		switch {
		case intake.Err() != nil:
			return nil
		case err == nil || errors.Is(err, session.ErrLeaseLost):
			failures = 0
			if err != nil {
				p.metrics.LeaseLost()
			}
		case !errors.Is(err, session.ErrUnavailable):
			return err
		default:
			failures++
			p.log.Warn("not ready yet; trying again", "attempt", failures, "error", err.Error())
		}
		wait(intake, retry.Pause(failures+1))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// prepare brings the device tables and the client version up to date.
func (p *process) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := p.control.WithLock(ctx, "wafleet device tables", p.devices.Upgrade); err != nil {
		return err
	}
	fetch, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	p.devices.Versions().Prepare(fetch)
	p.learnTask(ctx)
	return nil
}

// learnTask finds out by which name ECS will report the death of this process.
// Nothing depends on it: without it the lease passes by itself.
func (p *process) learnTask(ctx context.Context) {
	if p.config.TaskMetadata == "" {
		return
	}
	task, err := taskOf(ctx, p.config.TaskMetadata)
	if err != nil {
		p.log.Warn("the task is unknown; if it is stopped its sessions wait for the lease to pass", "error", err.Error())
	}
	p.task = task
}

// hold registers under a new id and runs sessions until intake or the lease
// ends.
func (p *process) hold(ctx, intake context.Context) error {
	host, _ := os.Hostname()
	me := store.Connector{ID: session.NewConnectorID(host), Address: p.listener.Addr().String(), Slots: p.config.Slots, Version: version, Task: p.task}
	log := p.log.With("connector", string(me.ID))
	return lease.Hold(ctx, heartbeat{p.beats, p.guardian, whileHolding(p, func(h *holding) store.Vitals { return h.supervisor.Vitals() })}, me, p.config.lease, log, func(authority context.Context, trust *lease.Trust) error {
		log.Info("connector registered", "slots", me.Slots, "address", me.Address, "version", me.Version, "client_version", p.devices.Versions().Current())
		return p.supervise(authority, intake, me.ID, trust, log)
	})
}

// supervise wires one supervisor and what it needs, and runs them together.
func (p *process) supervise(authority, intake context.Context, me session.ConnectorID, trust *lease.Trust, log *slog.Logger) error {
	var sup *supervisor.Supervisor
	reporter := report.New(p.control, me, log, func(t store.Term) { sup.Fence(t) })
	deps := runner.Deps{
		Me: me, Store: p.control, Reporter: reporter, Pacer: p.pacer, Versions: p.devices.Versions(), Observer: p.metrics,
		Timing: p.config.timing(),
	}
	sup = supervisor.New(me, p.config.supervisor(p.pacer), p.control, reporter, p.metrics, p.open, deps, trust, log)
	p.holding.Store(&holding{me, sup, trust})
	p.state.SetAlive(trust.Err)
	defer p.state.SetAlive(nil)

	helping, stopHelping := context.WithCancel(authority)
	defer stopHelping()
	var helpers errgroup.Group
	helpers.Go(func() error { return reporter.Run(helping) })
	helpers.Go(func() error { return p.control.Listen(helping, log, sup.Hint) })
	if p.hints != nil {
		receiving, stopReceiving := context.WithCancel(helping)
		defer stopReceiving()
		defer context.AfterFunc(intake, stopReceiving)()
		helpers.Go(func() error { return p.hints.Run(receiving, sup) })
	}
	helpers.Go(func() error { p.watchFleet(helping, me, log); return nil })
	helpers.Go(func() error { p.devices.Versions().Keep(helping); return nil })
	err := sup.Run(authority, intake)
	stopHelping()
	return errors.Join(err, helpers.Wait())
}

// open adapts a claim to the device store.
func (p *process) open(ctx context.Context, c store.Claim, held func() error, log *slog.Logger) (runner.Device, error) {
	config, err := openConfig(ctx, p.secrets, c.Tenant, c.Config)
	switch {
	case errors.Is(err, secret.ErrUnreadable) && c.Wanted.Deleted:
		// It must go all the same. A proxy stays in it, without its password.
		log.Warn("a deleted session is unlinked without the secrets of its config", "error", err.Error())
		config = c.Config.Config
	case errors.Is(err, secret.ErrUnreadable):
		return nil, fmt.Errorf("%w: %w", runner.ErrSecrets, err)
	case err != nil:
		return nil, err
	}
	open := p.devices.Open
	if c.Wanted.Deleted {
		open = p.devices.OpenToErase
	}
	d, err := open(ctx, whatsapp.Term{ID: c.ID, Tenant: c.Tenant, Config: config, Held: held, Log: log})
	if err != nil {
		return nil, err
	}
	return device{d}, nil
}

// device narrows the connections to what a runner needs.
type device struct{ *whatsapp.Device }

func (d device) Connect(ctx context.Context, jid string, sink func(event.Event)) (runner.Conn, error) {
	conn, err := d.Device.Connect(ctx, jid, sink)
	if err != nil {
		return nil, err
	}
	return conn, nil
}
