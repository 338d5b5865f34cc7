//! Where a service is: the address of the settings, or AWS's own for the region.
//!
//! The rules are AWS's for EC2 and RDS, which are the same. Settings that contradict each other are refused with words,
//! never passed over.

use aws_config::SdkConfig;
use aws_smithy_runtime_api::client::endpoint::{
    EndpointFuture, EndpointResolverParams, ResolveEndpoint,
};
use aws_smithy_types::endpoint::Endpoint;
use aws_types::service_config::ServiceConfigKey;

use super::Service;

/// The one address of a client, or why there is none.
#[derive(Debug)]
pub(super) struct Endpoints(Result<String, &'static str>);

// === impl Endpoints ===

impl Endpoints {
    pub(super) fn of(service: Service, config: &SdkConfig) -> Self {
        let place = Place {
            region: config.region().map(AsRef::as_ref),
            fips: config.use_fips().unwrap_or(false),
            dual_stack: config.use_dual_stack().unwrap_or(false),
        };
        Self(place.url(service.name, configured(service, config)))
    }
}

impl ResolveEndpoint for Endpoints {
    fn resolve_endpoint<'a>(&'a self, _params: &'a EndpointResolverParams) -> EndpointFuture<'a> {
        EndpointFuture::ready(match &self.0 {
            Ok(url) => Ok(Endpoint::builder().url(url.clone()).build()),
            Err(why) => Err((*why).into()),
        })
    }
}

/// An address in the code wins over one for the service (`AWS_ENDPOINT_URL_EC2`, or `services` in a profile), and that
/// over one for all services.
fn configured(service: Service, config: &SdkConfig) -> Option<String> {
    let general = config.endpoint_url().map(str::to_owned);
    if config.get_origin("endpoint_url").is_client_config() {
        return general;
    }
    let key = ServiceConfigKey::builder()
        .service_id(service.id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let settings = config.service_config();
    let own = settings.zip(key.ok());
    own.and_then(|(settings, key)| settings.load_config(key))
        .or(general)
}

/// What AWS's rules go by.
#[derive(Clone, Copy, Debug, Default)]
struct Place<'a> {
    region: Option<&'a str>,
    fips: bool,
    dual_stack: bool,
}

// === impl Place ===

impl Place<'_> {
    fn url(self, service: &str, configured: Option<String>) -> Result<String, &'static str> {
        match configured {
            Some(_) if self.fips => Err(
                "an endpoint of its own and FIPS endpoints (AWS_USE_FIPS_ENDPOINT) exclude each other",
            ),
            Some(_) if self.dual_stack => Err(
                "an endpoint of its own and dual-stack endpoints (AWS_USE_DUALSTACK_ENDPOINT) exclude each other",
            ),
            Some(url) => Ok(url),
            None => self.own(service),
        }
    }

    fn own(self, service: &str) -> Result<String, &'static str> {
        let region = self.region.ok_or("there is no region")?;
        let partition = PARTITIONS
            .iter()
            .find(|(prefix, ..)| region.starts_with(prefix));
        let (prefix, plain, dual_stack) = partition.unwrap_or(&AWS);
        let suffix = if self.dual_stack { dual_stack } else { plain };
        // In GovCloud every address is a FIPS one.
        let government = *prefix == GOVERNMENT && !self.dual_stack;
        let fips = if self.fips && !government {
            "-fips"
        } else {
            ""
        };
        Ok(format!("https://{service}{fips}.{region}.{suffix}"))
    }
}

// Prefix of its regions, suffix of names, and of names with IPv6. Taken from the SDK's `partitions.json`; a region that
// is in none of them is one of AWS's general ones.
const PARTITIONS: &[(&str, &str, &str)] = &[
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    (GOVERNMENT, "amazonaws.com", "api.aws"),
];
const GOVERNMENT: &str = "us-gov-";
const AWS: (&str, &str, &str) = ("", "amazonaws.com", "api.aws");

#[cfg(test)]
mod tests {
    use super::*;

    fn place(region: &str) -> Place<'_> {
        Place {
            region: Some(region),
            ..Place::default()
        }
    }

    // As the tests that come with AWS's rules have it.
    #[test]
    fn every_partition_has_its_own_names() {
        for (region, expected) in [
            ("eu-west-1", "https://rds.eu-west-1.amazonaws.com"),
            ("us-east-1", "https://rds.us-east-1.amazonaws.com"),
            ("xx-new-9", "https://rds.xx-new-9.amazonaws.com"),
            ("cn-north-1", "https://rds.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1", "https://rds.us-gov-west-1.amazonaws.com"),
            ("us-iso-east-1", "https://rds.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://rds.us-isob-east-1.sc2s.sgov.gov"),
            (
                "eu-isoe-west-1",
                "https://rds.eu-isoe-west-1.cloud.adc-e.uk",
            ),
            (
                "us-isof-south-1",
                "https://rds.us-isof-south-1.csp.hci.ic.gov",
            ),
            ("eusc-de-east-1", "https://rds.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(place(region).url("rds", None).as_deref(), Ok(expected));
        }
        assert!(Place::default().url("rds", None).is_err());
    }

    #[test]
    fn fips_and_dual_stack_are_in_the_name() {
        let url = |region, fips, dual_stack| {
            let place = Place {
                region: Some(region),
                fips,
                dual_stack,
            };
            place.url("ec2", None).unwrap()
        };
        for (region, fips, dual_stack, expected) in [
            (
                "us-east-1",
                true,
                true,
                "https://ec2-fips.us-east-1.api.aws",
            ),
            (
                "us-east-1",
                true,
                false,
                "https://ec2-fips.us-east-1.amazonaws.com",
            ),
            ("us-east-1", false, true, "https://ec2.us-east-1.api.aws"),
            (
                "cn-north-1",
                true,
                true,
                "https://ec2-fips.cn-north-1.api.amazonwebservices.com.cn",
            ),
            (
                "us-gov-east-1",
                true,
                true,
                "https://ec2-fips.us-gov-east-1.api.aws",
            ),
            (
                "us-gov-east-1",
                true,
                false,
                "https://ec2.us-gov-east-1.amazonaws.com",
            ),
            (
                "us-gov-east-1",
                false,
                true,
                "https://ec2.us-gov-east-1.api.aws",
            ),
        ] {
            assert_eq!(url(region, fips, dual_stack), expected);
        }
    }

    #[test]
    fn an_address_of_its_own_excludes_the_names_that_aws_makes() {
        let configured = || Some("http://localhost:1".to_owned());
        let mut place = place("eu-west-1");
        assert_eq!(
            place.url("ec2", configured()).as_deref(),
            Ok("http://localhost:1")
        );
        place.fips = true;
        assert!(place.url("ec2", configured()).is_err());
        place.fips = false;
        place.dual_stack = true;
        assert!(place.url("ec2", configured()).is_err());
    }
}
