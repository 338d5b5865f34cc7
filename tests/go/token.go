package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"time"
)

// issue makes a key, writes the issuer's public half into JWKS, and a token of an hour for SUBJECT into TOKEN.
func issue(_ context.Context, _ *Client, arguments []string) error {
	issuer, audience, subject, jwks, file := arguments[0], arguments[1], arguments[2], arguments[3], arguments[4]
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// 0x04, then both coordinates.
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return err
	}
	const kid = "test"
	keys, err := json.Marshal(line{"keys": []line{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": encoded(public[1:33]), "y": encoded(public[33:]),
	}}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(jwks, keys, 0o600); err != nil {
		return err
	}
	head, err := json.Marshal(line{"alg": "ES256", "typ": "JWT", "kid": kid})
	if err != nil {
		return err
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(line{
		"iss": issuer, "aud": []string{audience}, "sub": subject, "iat": now, "nbf": now, "exp": now + 3600,
	})
	if err != nil {
		return err
	}
	signed := encoded(head) + "." + encoded(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return err
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	if err := os.WriteFile(file, []byte(signed+"."+encoded(signature)), 0o600); err != nil {
		return err
	}
	say(line{"issued": subject})
	return nil
}

func encoded(bytes []byte) string {
	return base64.RawURLEncoding.EncodeToString(bytes)
}
