package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// Settings of a client, as its users set them (docs/GRPC.md §6, the HyperFleet adapter).
type Settings struct {
	Rest, Grpc, Source          string
	CA, Certificate, Key, Token string
	// V2 is the transport that waits for the subscription's id; Maestro's library uses the other.
	V2 bool
	// Healthiness is how long a stream may be silent, heartbeats included.
	Healthiness time.Duration
	// Wait comes before a lost stream is opened again; the library begins with 5 s.
	Wait time.Duration
}

// dial makes a connection that connects when it is used.
func (s Settings) dial(more ...grpc.DialOption) (*grpc.ClientConn, error) {
	transport, err := s.credentials()
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
	}
	token, err := s.token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	}
	return grpc.NewClient("passthrough:///"+s.Grpc, append(options, more...)...)
}

// token is read once, and sent as it is with every call.
func (s Settings) token() (string, error) {
	if s.Token == "" {
		return "", nil
	}
	token, err := os.ReadFile(s.Token)
	return strings.TrimSpace(string(token)), err
}

func (s Settings) credentials() (credentials.TransportCredentials, error) {
	config, err := s.tls()
	if err != nil || config == nil {
		return insecure.NewCredentials(), err
	}
	return credentials.NewTLS(config), nil
}

// tls is nil without a certificate authority: plaintext.
func (s Settings) tls() (*tls.Config, error) {
	if s.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", s.CA)
	}
	if s.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(s.Certificate, s.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// http is the REST client; ten seconds as the HyperFleet adapter has.
func (s Settings) http() (*http.Client, error) {
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: config}}, nil
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }
