//! Calls of EC2 and RDS: AWS's Query protocol on the SDK's own runtime.
//!
//! The SDK's crates for these two services take longer to build than everything else together, for some twenty calls.
//! Ours are only what they would add to the runtime: a request as a form ([`QueryRequest`]), an answer as XML
//! ([`Element`]), an error's code ([`QueryError`]), and the service's address. Credentials, signing, retries, timeouts,
//! clock skew, connections and [`SdkError`] are the runtime's, set up as the SDK's own clients do it.
//!
//! ```text
//! account.ec2.call(ec2::describe_vpcs(id)).await.during("ec2:DescribeVpcs", id)?
//! ```
//! **Invariant:** no value of a request is in a `Debug` here, and answers are marked as sensitive for the runtime.

use std::fmt;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::recursion_detection::RecursionDetectionInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_runtime::service_clock_skew::{
    DisableClockSkewCorrection, ServiceClockSkewClassifier, ServiceClockSkewInterceptor,
};
use aws_runtime::user_agent::{ApiMetadata, UserAgentInterceptor};
use aws_smithy_runtime::client::auth::no_auth::NO_AUTH_SCHEME_ID;
use aws_smithy_runtime::client::http::connection_poisoning::ConnectionPoisoningInterceptor;
use aws_smithy_runtime::client::identity::no_auth::NoAuthIdentityResolver;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime::client::stalled_stream_protection::StalledStreamProtectionInterceptor;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_runtime_api::client::endpoint::{EndpointResolverParams, SharedEndpointResolver};
use aws_smithy_runtime_api::client::identity::SharedIdentityResolver;
use aws_smithy_runtime_api::client::interceptors::SharedInterceptor;
use aws_smithy_runtime_api::client::orchestrator::{
    HttpRequest, HttpResponse, OrchestratorError, SensitiveOutput,
};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::{SharedRuntimePlugin, StaticRuntimePlugin};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{FrozenLayer, Layer};
use aws_types::SigningName;
use aws_types::region::SigningRegion;

pub(crate) use self::element::{Element, Malformed};
pub use self::error::QueryError;
pub(crate) use self::request::QueryRequest;

mod element;
mod endpoint;
mod error;
mod request;

/// A service that speaks the Query protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// In addresses and signatures.
    pub(crate) name: &'static str,
    /// In the names of settings: `AWS_ENDPOINT_URL_<id>`.
    pub(crate) id: &'static str,
    /// Of the protocol.
    pub(crate) version: &'static str,
}

/// How to read an answer, from its root on.
pub(crate) type Read<T> = fn(&Element) -> Result<T, Malformed>;

/// A request and how to read its answer.
#[derive(Debug)]
pub(crate) struct Call<T> {
    pub(crate) request: QueryRequest,
    /// None when nobody reads the answer. It is not parsed then: what was done was done.
    pub(crate) read: Option<Read<T>>,
}

/// One page of a list, and how to ask for the next one.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next: Option<String>,
}

/// A client of one service in one region. Clones share what was learned about the service's clock.
#[derive(Clone)]
pub struct Query {
    service: Service,
    behavior: BehaviorVersion,
    // Clients of one region share the tokens for retries, as the SDK's do.
    partition: Arc<str>,
    runtime: SharedRuntimePlugin,
}

// === impl Query ===

impl Query {
    /// Takes all settings from `config`. What is wrong with them (an address together with FIPS, no region) is reported by
    /// the first call.
    pub(crate) fn new(service: Service, config: &SdkConfig) -> Self {
        let partition = match config.region() {
            Some(region) => format!("{}-{region}", service.name),
            None => service.name.to_owned(),
        };
        let runtime = StaticRuntimePlugin::new()
            .with_config(settings(service, config))
            .with_runtime_components(components(service, config));
        Self {
            service,
            behavior: config
                .behavior_version()
                .unwrap_or_else(BehaviorVersion::latest),
            partition: partition.into(),
            runtime: SharedRuntimePlugin::new(runtime),
        }
    }

    /// Sends a request, as often as the retry settings allow, and reads the answer.
    ///
    /// # Errors
    /// [`SdkError::ServiceError`] when the service refuses, with its code, and when the answer is not what the protocol
    /// says, without one; otherwise what kept the request from being answered.
    pub(crate) async fn call<T>(
        &self,
        call: Call<T>,
    ) -> Result<T, SdkError<QueryError, HttpResponse>>
    where
        T: Default + fmt::Debug + Send + Sync + 'static,
    {
        let Call { request, read } = call;
        let action = request.action();
        let version = self.service.version;
        let operation = Operation::builder()
            .service_name(self.partition.to_string())
            .operation_name(action)
            .behavior_version(self.behavior)
            .runtime_plugin(self.runtime.clone())
            .serializer(move |request: QueryRequest| post(request.form(version)))
            .deserializer(move |answer: &HttpResponse| {
                answered(answer, action, read).map_err(OrchestratorError::operation)
            })
            .build();
        Box::pin(operation.invoke(request)).await
    }

    /// All pages of a list, which EC2 may cut wherever it likes, even before the first item.
    ///
    /// # Errors
    /// As [`Self::call`]; also when there is no end to the pages.
    pub(crate) async fn call_paged<T>(
        &self,
        call: Call<Page<T>>,
    ) -> Result<Vec<T>, SdkError<QueryError, HttpResponse>>
    where
        T: fmt::Debug + Send + Sync + 'static,
    {
        let Call { request, read } = call;
        let mut all = Vec::new();
        let mut next = None;
        for _ in 0..MAX_PAGES {
            let request = request.clone().maybe("NextToken", next);
            let page = self.call(Call { request, read }).await?;
            all.extend(page.items);
            next = page.next;
            if next.is_none() {
                return Ok(all);
            }
        }
        let why = format!("more than {MAX_PAGES} pages");
        Err(SdkError::construction_failure(why))
    }
}

// === impl Page ===

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }
}

/// Where it goes: the rest holds credentials.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Query({})", self.partition)
    }
}

/// What the runtime looks up by type.
fn settings(service: Service, config: &SdkConfig) -> FrozenLayer {
    let mut layer = Layer::new(service.id);
    layer.store_put(SensitiveOutput);
    layer.store_put(ApiMetadata::new(service.name, env!("CARGO_PKG_VERSION")));
    layer.store_put(AuthSchemeOptionResolverParams::new(()));
    layer.store_put(EndpointResolverParams::new(()));
    layer.store_put(SigV4OperationSigningConfig::default());
    layer.store_put(SigningName::from_static(service.name));
    if let Some(region) = config.region().cloned() {
        layer.store_put(SigningRegion::from(region.clone()));
        layer.store_put(region);
    }
    if let Some(retry) = config.retry_config().cloned() {
        layer.store_put(retry);
    }
    if let Some(timeouts) = config.timeout_config().cloned() {
        layer.store_put(timeouts);
    }
    if let Some(protection) = config.stalled_stream_protection() {
        layer.store_put(protection);
    }
    if let Some(disabled) = config.disable_clock_skew_correction() {
        layer.store_put(DisableClockSkewCorrection::from(disabled));
    }
    if let Some(name) = config.app_name().cloned() {
        layer.store_put(name);
    }
    for framework in config.framework_metadata().iter().cloned() {
        layer.store_append(framework);
    }
    layer.freeze()
}

/// What the runtime works with, in the order of the SDK's own clients.
fn components(service: Service, config: &SdkConfig) -> RuntimeComponentsBuilder {
    let endpoint = endpoint::Endpoints::of(service, config);
    let auth = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
    let mut components = RuntimeComponentsBuilder::new(service.id)
        .with_http_client(config.http_client())
        .with_sleep_impl(config.sleep_impl())
        .with_time_source(config.time_source())
        .with_endpoint_resolver(Some(SharedEndpointResolver::new(endpoint)))
        .with_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(auth)))
        .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
        // The runtime wants at least one identity before it says that the one for signing is missing. There is no
        // scheme for this one, so that nothing is ever sent without a signature.
        .with_identity_resolver(
            NO_AUTH_SCHEME_ID,
            SharedIdentityResolver::new(NoAuthIdentityResolver::new()),
        )
        .with_interceptor(SharedInterceptor::permanent(
            ConnectionPoisoningInterceptor::new(),
        ))
        .with_interceptor(ServiceClockSkewInterceptor::new())
        .with_interceptor(RequestInfoInterceptor::new())
        .with_interceptor(UserAgentInterceptor::new())
        .with_interceptor(InvocationIdInterceptor::new())
        .with_interceptor(SharedInterceptor::permanent(
            RecursionDetectionInterceptor::new(),
        ))
        .with_interceptor(SharedInterceptor::permanent(
            StalledStreamProtectionInterceptor::default(),
        ))
        .with_retry_classifier(HttpStatusCodeClassifier::default())
        .with_retry_classifier(TransientErrorClassifier::<QueryError>::new())
        .with_retry_classifier(AwsErrorCodeClassifier::<QueryError>::new())
        .with_retry_classifier(ServiceClockSkewClassifier::<QueryError>::new());
    if let Some(cache) = config.identity_cache() {
        components.set_identity_cache(Some(cache));
    }
    if let Some(credentials) = config.credentials_provider() {
        components.set_identity_resolver(SCHEME_ID, credentials);
    }
    components
}

/// The endpoint comes before the path, and the signature after both.
fn post(form: String) -> Result<HttpRequest, BoxError> {
    let length = form.len().to_string();
    let mut request = HttpRequest::new(SdkBody::from(form));
    request.set_method("POST")?;
    request.set_uri("/")?;
    let headers = request.headers_mut();
    headers.insert("content-type", "application/x-www-form-urlencoded");
    headers.insert("content-length", length);
    Ok(request)
}

fn answered<T: Default>(
    answer: &HttpResponse,
    action: &str,
    read: Option<Read<T>>,
) -> Result<T, QueryError> {
    // The runtime has read the whole body before it comes to this.
    let body = answer.body().bytes().unwrap_or_default();
    if !answer.status().is_success() {
        let status = answer.status().as_u16();
        return Err(QueryError::refused(status, answer.headers(), body));
    }
    let Some(read) = read else {
        return Ok(T::default());
    };
    Element::parse(body)
        .and_then(|root| read(root.expect_name(&format!("{action}Response"))?))
        .map_err(|why| QueryError::malformed(&why))
}

// EC2 answers with a thousand items a page, or with all that match.
const MAX_PAGES: usize = 100;

#[cfg(test)]
pub(crate) mod tests;
