package store

import (
	"context"
	"database/sql"
	"sync"
)

// prepared is a pool that plans each statement once per connection. What a
// connector asks over and over takes Postgres longer to plan than to do: a claim
// 4 ms of 5. Behind a pooler that changes connections between transactions nothing
// may be prepared; connectors have connections of their own.
type prepared struct {
	*sql.DB
	mu         sync.Mutex
	statements map[string]*sql.Stmt // guarded by mu
}

func newPrepared(db *sql.DB) *prepared {
	return &prepared{DB: db, statements: map[string]*sql.Stmt{}}
}

// statement prepares a query at its first use. database/sql does so again on
// every other connection.
func (p *prepared) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	statement := p.statements[query]
	p.mu.Unlock()
	if statement != nil {
		return statement, nil
	}
	statement, err := p.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if earlier := p.statements[query]; earlier != nil {
		return earlier, statement.Close()
	}
	p.statements[query] = statement
	return statement, nil
}

func (p *prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (p *prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	statement, err := p.statement(ctx, query)
	if err != nil {
		return p.DB.QueryRowContext(ctx, query, args...) // only it can make a row of the error
	}
	return statement.QueryRowContext(ctx, args...)
}

func (p *prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	statement, err := p.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}
