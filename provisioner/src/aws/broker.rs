//! The broker's host name.

use super::{Account, AwsError, AwsErrorKind, Outcome as _};

impl Account {
    /// The Data-ATS endpoint of AWS IoT, without port. Amazon's own roots sign its server certificate; the legacy
    /// `iot:Data` endpoint has another root (docs/IOT-CORE.md §1.6).
    ///
    /// # Errors
    /// When the call fails, or its answer is empty.
    pub async fn broker(&self) -> Result<String, AwsError> {
        let action = "iot:DescribeEndpoint";
        let request = self.iot.describe_endpoint().endpoint_type(ENDPOINT_TYPE);
        let answer = request.send().await.during(action, ENDPOINT_TYPE)?;
        let host = answer.endpoint_address.filter(|host| !host.is_empty());
        host.ok_or_else(|| {
            let message = "the answer is empty";
            AwsError::new(AwsErrorKind::Other, action, ENDPOINT_TYPE, message)
        })
    }
}

const ENDPOINT_TYPE: &str = "iot:Data-ATS";
