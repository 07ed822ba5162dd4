// Writes a vulnerability database that Trivy takes for its own, from a few advisories in JSON:
//
//	trivydb FOLDER < description.json
//
// The description: {"advisories": [{"platform": "debian 13", "source": "debian", "package": "zlib", "id":
// "CVE-1-1", "severity": "HIGH", "fixed": "1.3", "vulnerable": [], "title": "…"}], "next_update": "…", "updated": "…"}.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy-db/pkg/types"
	bolt "go.etcd.io/bbolt"
)

type advisory struct {
	Platform   string   `json:"platform"`
	Source     string   `json:"source"`
	Package    string   `json:"package"`
	ID         string   `json:"id"`
	Severity   string   `json:"severity"`
	Fixed      string   `json:"fixed"`
	Vulnerable []string `json:"vulnerable"`
	Title      string   `json:"title"`
}

type description struct {
	Advisories []advisory `json:"advisories"`
	NextUpdate time.Time  `json:"next_update"`
	Updated    time.Time  `json:"updated"`
}

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder string) error {
	var wanted description
	if err := json.NewDecoder(os.Stdin).Decode(&wanted); err != nil {
		return err
	}
	if err := db.Init(folder); err != nil {
		return err
	}
	defer db.Close()
	operation := db.Config{}
	err := operation.BatchUpdate(func(tx *bolt.Tx) error {
		// A database without one entry has no buckets, and Trivy needs this one.
		if _, err := tx.CreateBucketIfNotExists([]byte("vulnerability")); err != nil {
			return err
		}
		for _, each := range wanted.Advisories {
			if err := put(operation, tx, each); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	about := metadata.Metadata{Version: db.SchemaVersion, NextUpdate: wanted.NextUpdate, UpdatedAt: wanted.Updated}
	return metadata.NewClient(folder).Update(about)
}

func put(operation db.Config, tx *bolt.Tx, each advisory) error {
	severity, err := types.NewSeverity(each.Severity)
	if err != nil {
		return err
	}
	source := types.SourceID(each.Source)
	from := types.DataSource{ID: source, Name: each.Source, URL: "https://example.invalid/" + each.Source}
	if err := operation.PutDataSource(tx, each.Platform, from); err != nil {
		return err
	}
	told := types.Advisory{FixedVersion: each.Fixed, VulnerableVersions: each.Vulnerable}
	if strings.Contains(each.Platform, "::") { // a language's packages: all versions below the fixed one, or those named
		told = types.Advisory{VulnerableVersions: each.Vulnerable}
		if each.Fixed != "" {
			told.PatchedVersions = []string{each.Fixed}
			told.VulnerableVersions = []string{"<" + each.Fixed}
		}
	}
	if err := operation.PutAdvisory(tx, []string{each.Platform, each.Package}, each.ID, told); err != nil {
		return err
	}
	return operation.PutVulnerability(tx, each.ID, types.Vulnerability{
		Title:          each.Title,
		Severity:       each.Severity,
		VendorSeverity: types.VendorSeverity{source: severity},
	})
}
